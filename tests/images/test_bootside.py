from __future__ import annotations

from pathlib import Path

import pytest

from sealwave.images import bootside
from sealwave.images.errors import ImageError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    system = tmp_path / "usr/lib/systemd/system"
    system.mkdir(parents=True)
    for unit in ("systemd-networkd.service", "systemd-networkd.socket", "systemd-networkd-wait-online.service"):
        (system / unit).write_text("[Unit]\n")
    generators = tmp_path / "usr/lib/systemd/system-generators"
    generators.mkdir()
    for name in ("debug", "run", "ssh", "gpt-auto", "fstab", "veritysetup"):
        (generators / f"systemd-{name}-generator").write_text("")
    rules = tmp_path / "usr/lib/udev/rules.d"
    rules.mkdir(parents=True)
    (rules / "70-joystick.rules").write_text("")
    (rules / "99-systemd.rules").write_text("")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    return tmp_path


def snapshot(tree: Path) -> dict[str, str]:
    return {
        str(path.relative_to(tree)): str(path.readlink()) if path.is_symlink() else path.read_text()
        for path in sorted(tree.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_install_is_the_same_twice(tree: Path) -> None:
    bootside.install(tree)
    once = snapshot(tree)
    bootside.install(tree)
    assert snapshot(tree) == once


def test_generators_that_turn_unsigned_input_into_units_go(tree: Path) -> None:
    bootside.install(tree)
    left = {path.name for path in (tree / "usr/lib/systemd/system-generators").iterdir()}
    assert left == {"systemd-fstab-generator", "systemd-veritysetup-generator"}


def test_what_a_sealed_root_needs_is_there(tree: Path) -> None:
    bootside.install(tree)
    assert (tree / "etc/machine-id").read_bytes() == b""
    assert (tree / "usr/lib/clock-epoch").exists()
    assert "x-systemd.makefs" in (tree / "etc/fstab").read_text()
    assert (tree / "data").is_dir()
    assert str((tree / "etc/systemd/system/default.target").readlink()) == "/usr/lib/systemd/system/multi-user.target"
    assert str((tree / "etc/systemd/system/systemd-bless-boot.service").readlink()) == "/dev/null"
    assert "SuccessAction=reboot-force" in (tree / "usr/lib/systemd/system/emergency.service").read_text()
    assert not (tree / "usr/lib/udev/rules.d/70-joystick.rules").exists()
    assert (tree / "usr/lib/udev/rules.d/99-systemd.rules").exists()


def test_a_tree_without_systemd_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="holds no systemd"):
        bootside.install(tmp_path)


def test_a_tree_without_networkd_is_refused(tree: Path) -> None:
    (tree / "usr/lib/systemd/system/systemd-networkd.socket").unlink()
    with pytest.raises(ImageError, match=r"lacks the unit systemd-networkd\.socket"):
        bootside.install(tree)
