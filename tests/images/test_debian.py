from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sealwave.images import debian
from sealwave.images.debian import AptRoot, Mirrors, named_mirrors, parse_mirrors, parse_uris
from sealwave.images.errors import HostLacks, LockError, PackageNotFound, ToolFailed

MAIN, SECURITY = "http://mirror.example/debian", "http://mirror.example/debian-security"
BASES = {"trixie": MAIN, "trixie-security": SECURITY}
HASH = "0" * 64


def test_mirrors_are_those_of_the_machine() -> None:
    targets = (
        f"{MAIN}/ bookworm\n{MAIN}/ bookworm-updates\n{SECURITY}/ bookworm-security\nhttps://other.example nodistro\n"
    )
    mirrors = parse_mirrors(targets)
    assert mirrors.base("trixie") == MAIN
    assert mirrors.base("trixie-security") == SECURITY


def test_a_security_mirror_is_looked_for_beside_the_main_one() -> None:
    assert parse_mirrors(f"{MAIN}/ bookworm\n").base("trixie-security") == SECURITY


def test_a_machine_without_a_debian_mirror_is_told_what_to_do() -> None:
    with pytest.raises(HostLacks, match=r"a Debian mirror.*SEALWAVE_MIRROR"):
        parse_mirrors("https://archive.example/ubuntu noble\n")


def test_mirrors_can_be_named() -> None:
    assert named_mirrors(MAIN, "") == Mirrors(MAIN, SECURITY)
    assert named_mirrors(MAIN, "https://other.example") == Mirrors(MAIN, "https://other.example")
    assert named_mirrors("", SECURITY) is None


def test_packages_are_named_by_suite_and_path() -> None:
    listed = (
        f"'{SECURITY}/pool/updates/z/zlib/zlib1g_1%3a1.3-1_amd64.deb' zlib1g_1%3a1.3-1_amd64.deb 10 SHA256:{HASH}\n"
        f"'{MAIN}/pool/main/b/base/base_1_all.deb' base_1_all.deb 20 SHA256:{HASH}\n"
        "some other line\n"
    )
    base, zlib = parse_uris(listed, BASES)
    assert (base.name, base.suite, base.path, base.size) == ("base", "trixie", "pool/main/b/base/base_1_all.deb", 20)
    assert (zlib.version, zlib.suite, zlib.path) == (
        "1:1.3-1",
        "trixie-security",
        "pool/updates/z/zlib/zlib1g_1:1.3-1_amd64.deb",
    )


def test_an_address_outside_the_suites_is_refused() -> None:
    with pytest.raises(LockError, match=r"in none of the suites"):
        parse_uris(f"'http://else.example/a_1_all.deb' a_1_all.deb 1 SHA256:{HASH}\n", BASES)


def test_an_empty_answer_is_refused() -> None:
    with pytest.raises(LockError, match="named no package"):
        parse_uris("", BASES)


def _failing(output: str) -> Callable[..., bytes]:
    def run(line: Any, **_: Any) -> bytes:
        raise ToolFailed(line, status=100, output=output)

    return run


@pytest.mark.parametrize(
    ("output", "names"),
    [
        ("E: Unable to locate package systemdx", "package systemdx in trixie or trixie-security"),
        ("E: Unable to locate package b\nE: Package 'a' has no installation candidate", "packages a, b in"),
        ("E: Couldn't find any package by glob 'lib*x'", r"package lib\*x in"),
    ],
)
def test_a_package_that_does_not_exist_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, names: str
) -> None:
    monkeypatch.setattr(debian, "run_program", _failing(output))
    with pytest.raises(PackageNotFound, match=names):
        _root(tmp_path).resolve(["systemdx"])


def test_packages_that_exclude_each_other_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        debian, "run_program", _failing("E: Unable to correct problems, you have held broken packages.")
    )
    with pytest.raises(LockError, match=r"cannot be installed together.*broken packages"):
        _root(tmp_path).resolve(["a", "b"])


def test_a_mirror_that_does_not_answer_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "run_program", _failing("E: Failed to fetch http://mirror.example/x"))
    with pytest.raises(LockError, match="indexes of trixie, trixie-security cannot be fetched"):
        _root(tmp_path).update()


def test_apt_uses_nothing_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "run_program", lambda line, **_: b"")
    _root(tmp_path).update()
    configuration = (tmp_path / "apt/apt.conf").read_text()
    assert f'Dir::State::status "{tmp_path}/apt/status";' in configuration
    assert f"signed-by={tmp_path / 'keyring.gpg'}" in (tmp_path / "apt/sources.list").read_text()


def test_a_missing_keyring_is_named(tmp_path: Path) -> None:
    root = _root(tmp_path)
    (tmp_path / "keyring.gpg").unlink()
    with pytest.raises(HostLacks, match=r"keyring\.gpg; install it"):
        root.update()


def test_the_epoch_is_the_youngest_index(tmp_path: Path) -> None:
    lists = tmp_path / "apt/lists"
    lists.mkdir(parents=True)
    (lists / "a_InRelease").write_text("Suite: a\nDate: Sat, 01 Nov 2025 10:00:00 UTC\n")
    (lists / "b_InRelease").write_text("Suite: b\nDate: Sat, 01 Nov 2025 11:00:00 UTC\n")
    assert _root(tmp_path).newest_release() == 1761994800


def test_lists_without_a_date_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LockError, match="no release file"):
        _root(tmp_path).newest_release()


def _root(tmp_path: Path) -> AptRoot:
    keyring = tmp_path / "keyring.gpg"
    keyring.write_bytes(b"")
    return AptRoot(
        tmp_path / "apt",
        suites=["trixie", "trixie-security"],
        architecture="amd64",
        keyring=keyring,
        mirrors=Mirrors(MAIN, SECURITY),
    )
