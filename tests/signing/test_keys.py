"""The lab's keys: made once, closed to others, completed after a crash, never silently replaced."""

from __future__ import annotations

import stat
from datetime import datetime
from pathlib import Path

import pytest

from sealwave.signing import files, keys
from sealwave.signing.errors import KeyFileError
from sealwave.signing.keys import LabKeys


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_folder_and_private_keys_are_closed_to_others(shared_keys: LabKeys) -> None:
    assert stat.S_IMODE(shared_keys.folder.stat().st_mode) == 0o700
    private = sorted(path.name for path in shared_keys.folder.glob("*.key"))
    assert private == ["KEK.key", "PK.key", "config.key", "db.key", "release.key"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in shared_keys.folder.glob("*.key")} == {0o600}


def test_a_second_run_changes_nothing(shared_keys: LabKeys, now: datetime) -> None:
    before = _content(shared_keys.folder)
    again = LabKeys.ensure(shared_keys.folder, now=now)
    assert _content(shared_keys.folder) == before
    assert again.release.public_pem == shared_keys.public_path("release").read_bytes()
    assert again.database.certificate_pem == shared_keys.certificate_path("db").read_bytes()


def test_a_crash_at_any_write_is_completed_with_the_same_private_keys(
    tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(BaseException):
        pass

    written = 0

    def write(path: Path, content: bytes, *, mode: int = 0o644) -> None:
        nonlocal written
        if written == limit:
            raise Crash
        written += 1
        files.write_atomic(path, content, mode=mode)

    monkeypatch.setattr(keys, "write_atomic", write)
    monkeypatch.setattr(keys, "SECURE_BOOT_BITS", 1024)  # Only for speed: eleven sets are made here.
    folder = tmp_path / "keys"
    seen: dict[str, bytes] = {}
    for limit in range(11):
        written = 0
        try:
            LabKeys.ensure(folder, now=now)
        except Crash:
            assert limit == written
        now_there = {name: content for name, content in _content(folder).items() if name.endswith(".key")}
        assert seen.items() <= now_there.items()
        seen = now_there
    assert len(seen) == 5


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, now: datetime, mode: int) -> None:
    path = tmp_path / "release.key"
    path.write_bytes(b"")
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="other users can read; make a new key"):
        keys.load_signing_key(path)


def test_a_link_in_place_of_a_key_is_refused(tmp_path: Path, shared_keys: LabKeys) -> None:
    (tmp_path / "release.key").symlink_to(shared_keys.folder / "release.key")
    with pytest.raises(KeyFileError, match="cannot be read"):
        keys.load_signing_key(tmp_path / "release.key")


def test_missing_spoiled_and_wrong_keys_say_what_to_do(tmp_path: Path, shared_keys: LabKeys) -> None:
    with pytest.raises(KeyFileError, match="cannot be read"):
        keys.load_signing_key(tmp_path / "absent.key")
    files.write_atomic(tmp_path / "spoiled.key", b"-----BEGIN", mode=0o600)
    with pytest.raises(KeyFileError, match="no private key in PEM"):
        keys.load_signing_key(tmp_path / "spoiled.key")
    with pytest.raises(KeyFileError, match="not an ed25519 key"):
        keys.load_signing_key(shared_keys.folder / "db.key")
    with pytest.raises(KeyFileError, match="not an RSA key"):
        keys.load_secure_boot_key(shared_keys.folder / "release.key", shared_keys.certificate_path("db"))
    with pytest.raises(KeyFileError, match="not the certificate of"):
        keys.load_secure_boot_key(shared_keys.folder / "db.key", shared_keys.certificate_path("KEK"))
    with pytest.raises(KeyFileError, match="no certificate in PEM"):
        keys.load_secure_boot_key(shared_keys.folder / "db.key", tmp_path / "spoiled.key")


@pytest.mark.parametrize("public", ["release.pub", "db.pem"])
def test_a_public_half_without_its_key_is_not_overwritten(tmp_path: Path, now: datetime, public: str) -> None:
    files.write_atomic(tmp_path / public, b"trusted by images")
    with pytest.raises(KeyFileError, match="is missing while"):
        LabKeys.ensure(tmp_path, now=now)
    assert (tmp_path / public).read_bytes() == b"trusted by images"


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    files.write_atomic(path, b"old", mode=0o600)

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        files.write_atomic(path, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
