"""What the supervisor keeps on disk is whole."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from sealwave.infra.lab.supervisor import keep_disk


@pytest.fixture
def other_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("other_file_system")
def test_a_half_copied_base_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, base = tmp_path / "disk.raw", tmp_path / "bases/sha256-0.raw"
    disk.write_bytes(b"whole")
    base.parent.mkdir()

    def cut(source: Any, target: Any) -> None:
        target.write(source.read(2))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shutil, "copyfileobj", cut)
        keep_disk(disk, base)
    assert not base.exists()
    # A power cut leaves the part where it is; it is written over.
    (base.parent / f".{base.name}.part").write_bytes(b"more than the whole")
    keep_disk(disk, base)
    assert base.read_bytes() == b"whole"
    assert list(base.parent.iterdir()) == [base]


def test_a_base_is_a_second_name_of_the_disk_and_stays(tmp_path: Path) -> None:
    disk, base = tmp_path / "disk.raw", tmp_path / "base.raw"
    disk.write_bytes(b"first")
    keep_disk(disk, base)
    assert base.samefile(disk)
    disk.unlink()
    disk.write_bytes(b"second")
    keep_disk(disk, base)
    assert base.read_bytes() == b"first"
