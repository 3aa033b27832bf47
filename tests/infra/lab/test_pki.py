"""The lab's certificates: whole or absent, private, and kept."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sealwave.infra.errors import LabStateSpoiled
from sealwave.infra.lab.pki import ensure_pki

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_made_once_private_and_kept(tmp_path: Path) -> None:
    pki = ensure_pki(tmp_path / "lab" / "pki", now=NOW)
    assert pki.folder.stat().st_mode & 0o777 == 0o700
    keys = sorted(pki.folder.glob("*.key"))
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    before = [path.read_bytes() for path in keys]
    ensure_pki(pki.folder, now=NOW + timedelta(days=300))
    assert [path.read_bytes() for path in keys] == before


def test_a_certificate_that_ran_out_is_named(tmp_path: Path) -> None:
    ensure_pki(tmp_path / "pki", now=NOW)
    with pytest.raises(LabStateSpoiled, match=r"runs out on 2027-01-01; run `sealwave lab down`"):
        ensure_pki(tmp_path / "pki", now=NOW + timedelta(days=364))


def test_nothing_is_left_when_making_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("sealwave.infra.lab.pki.write_atomic", fail)
    with pytest.raises(OSError, match="no space left"):
        ensure_pki(tmp_path / "pki", now=NOW)
    assert list(tmp_path.iterdir()) == []
