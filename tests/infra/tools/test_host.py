"""What the host must have, and the sentence when it does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sealwave.infra.settings import Settings
from sealwave.infra.tools import HostUnusable, host, missing_packages, usable
from sealwave.infra.tools.host import PACKAGES, has

QEMU = next(package for package in PACKAGES if package.name == "qemu-system-x86")


def test_a_complete_host_is_usable() -> None:
    assert missing_packages(lambda shows: True) == ()
    usable(root=True, missing=(), installable=True)


def test_missing_packages_are_named_in_order() -> None:
    assert missing_packages(lambda shows: shows != QEMU.shows) == (QEMU,)
    assert missing_packages(lambda shows: False) == PACKAGES


def test_root_with_a_package_manager_may_go_on() -> None:
    usable(root=True, missing=(QEMU,), installable=True)


@pytest.mark.parametrize(
    ("root", "installable", "message"),
    [
        (False, True, "this host has no root rights; .* run this as root"),
        (False, False, "no root rights; .* after installing qemu-system-x86"),
        (True, False, "no qemu-system-x86_64; install what Debian calls qemu-system-x86, or use a Debian host"),
    ],
)
def test_one_sentence_says_what_is_missing(root: bool, installable: bool, message: str) -> None:
    with pytest.raises(HostUnusable, match=message):
        usable(root=root, missing=(QEMU,), installable=installable)


def test_nothing_to_install_needs_no_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(host, "missing_packages", lambda: ())
    host.install(pytest.fail)
    monkeypatch.setattr(host, "missing_packages", lambda: (QEMU,))
    with pytest.raises(HostUnusable, match="no root rights"):
        host.install(pytest.fail)


def test_programs_and_files_are_looked_for(tmp_path: Path) -> None:
    assert has("sh")
    assert not has("no-such-program")
    assert not has(str(tmp_path / "absent"))
    (tmp_path / "there").touch()
    assert has(str(tmp_path / "there"))


def test_settings_have_defaults_and_absolute_paths() -> None:
    settings = Settings.from_environment({})
    assert settings.cache == Path.home() / ".cache" / "sealwave"
    assert (settings.plugins, settings.ci, settings.debug) == (None, False, False)
    assert (settings.mirror, settings.security_mirror) == ("", "")
    settings = Settings.from_environment(
        {
            "SEALWAVE_PULUMI_PLUGINS": "plugins",
            "CI": "true",
            "SEALWAVE_DEBUG": "1",
            "SEALWAVE_MIRROR": "https://a.example",
        }
    )
    assert (settings.debug, settings.mirror) == (True, "https://a.example")
    assert settings.plugins is not None
    assert settings.plugins.is_absolute()
    assert settings.ci
