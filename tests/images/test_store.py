from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealwave.images.errors import NoSpace, StoreCorrupt, StoreError, StoreMissing
from sealwave.images.store import Store, exclusive, new_folder, write_atomic

HELLO = hashlib.sha256(b"hello").hexdigest()


def test_what_goes_in_comes_out_by_its_hash(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.add_bytes(b"hello") == HELLO
    assert store.holds(HELLO)
    assert store.read(HELLO, "a test") == b"hello"
    assert store.path(HELLO, "a test").read_bytes() == b"hello"


def test_a_spoiled_file_is_refused_by_name_and_advice(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add_bytes(b"hello")
    store.place(HELLO).write_bytes(b"jello")
    for take in (store.read, store.path):
        with pytest.raises(StoreCorrupt, match=r"the package curl.*delete it and run `sealwave image lock`") as caught:
            take(HELLO, "the package curl")
        assert str(store.place(HELLO)) in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for take in (store.read, store.path):
        with pytest.raises(StoreMissing, match="needed for the package curl"):
            take(HELLO, "the package curl")


def test_other_bytes_than_promised_leave_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(StoreCorrupt):
        store.add_stream([b"other"], wanted=HELLO)
    assert list((tmp_path / "sha256").iterdir()) == []


def test_a_stream_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"he"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(NoSpace, match="no space is left"):
        Store(tmp_path).add_stream(broken())
    assert list((tmp_path / "sha256").iterdir()) == []


def test_a_store_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot be written"):
        Store(tmp_path / "file").add_bytes(b"x")


def test_atomic_write_replaces_and_sets_the_mode(tmp_path: Path) -> None:
    place = tmp_path / "a/b"
    write_atomic(place, b"1")
    write_atomic(place, b"2", mode=0o600)
    assert place.read_bytes() == b"2"
    assert place.stat().st_mode & 0o777 == 0o600
    assert list(place.parent.iterdir()) == [place]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "result"
    with pytest.raises(RuntimeError), new_folder(target) as scratch:
        (scratch / "half").write_bytes(b"")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with new_folder(target) as scratch:
        (scratch / "whole").write_bytes(b"")
    assert [path.name for path in target.iterdir()] == ["whole"]


def test_the_quicker_of_two_writers_wins(tmp_path: Path) -> None:
    target = tmp_path / "result"
    with new_folder(target) as scratch:
        (scratch / "mine").write_bytes(b"")
        target.mkdir()
        (target / "theirs").write_bytes(b"")
    assert [path.name for path in target.iterdir()] == ["theirs"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_has_one_holder_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "apt"
    with exclusive(folder):
        handle = os.open(folder, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(handle)
    with exclusive(folder):
        pass
