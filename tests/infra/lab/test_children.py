"""Children: a program that is missing, one that ends by itself, one that does not want to end."""

import sys
import time
from pathlib import Path

import pytest

from sealwave.infra.errors import ChildEnded, ToolMissing
from sealwave.infra.lab.children import Child, stop_all


def _wait(child: Child) -> None:
    end = time.monotonic() + 20
    while child.running and time.monotonic() < end:
        time.sleep(0.02)


def _ended(stat: Path) -> bool:
    try:
        return ") Z " in stat.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_missing_program_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match=r"/no/etcd is missing on this host; run `make tools`"):
        Child("etcd", ["/no/etcd"], log=tmp_path / "log")


def test_one_that_ends_by_itself_says_its_last_line(tmp_path: Path) -> None:
    child = Child("etcd", [sys.executable, "-c", "print('x'); exit('disk is full')"], log=tmp_path / "log")
    _wait(child)
    with pytest.raises(ChildEnded, match=r"etcd ended with code 1 after saying 'disk is full'; its whole output is in"):
        child.require_running()
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_one_that_ignores_the_request_is_killed_with_what_it_started(tmp_path: Path) -> None:
    program = (
        "import signal, subprocess, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['/bin/sleep', '600'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    log = tmp_path / "log"
    child = Child("stubborn", [sys.executable, "-c", program], log=log)
    end = time.monotonic() + 20
    while not log.read_text().strip() and time.monotonic() < end:
        time.sleep(0.02)
    begun = time.monotonic()
    stop_all([child], limit=0.5)
    assert time.monotonic() - begun < 10
    assert not child.running
    # A signal that was sent is not yet a process that has ended: on a busy host that takes a moment.
    grandchild, end = Path(f"/proc/{log.read_text().strip()}/stat"), time.monotonic() + 20
    while not (ended := _ended(grandchild)) and time.monotonic() < end:
        time.sleep(0.02)
    assert ended
