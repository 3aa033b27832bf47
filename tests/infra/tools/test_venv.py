"""The environment's key, and the sentence when it cannot be made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sealwave.infra.tools import venv
from sealwave.infra.tools.venv import environment_key


def test_the_key_follows_every_input() -> None:
    keys = {
        environment_key(lock=b"l", project=b"p", python="3.11", checkout="/a"),
        environment_key(lock=b"L", project=b"p", python="3.11", checkout="/a"),
        environment_key(lock=b"l", project=b"P", python="3.11", checkout="/a"),
        environment_key(lock=b"l", project=b"p", python="3.12", checkout="/a"),
        environment_key(lock=b"l", project=b"p", python="3.11", checkout="/b"),
    }
    assert len(keys) == 5


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, venv.__file__],
        env={"SEALWAVE_CACHE": str(tmp_path / "file" / "cache"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sealwave: error: ")
    assert done.stderr.endswith("make room or rights, or set SEALWAVE_CACHE\n")
    assert len(done.stderr.splitlines()) == 1
