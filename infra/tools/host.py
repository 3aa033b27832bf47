"""What the host itself must have: Debian packages, root, and an emulator.

The table is the only place that names host packages. Everything that shapes an image comes from the image's own tools
tree: what is listed here makes that tree, and runs and checks the result.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealwave.infra.settings import Settings
from sealwave.infra.tools.errors import HostUnusable

__all__ = ["PACKAGES", "Has", "Package", "has", "install", "missing_packages", "usable"]


@dataclass(frozen=True)
class Package:
    """A Debian package, and the program or file that shows that it is there."""

    name: str
    shows: str
    why: str


PACKAGES: tuple[Package, ...] = (
    Package("qemu-system-x86", "qemu-system-x86_64", "runs the machines"),
    Package("qemu-utils", "qemu-img", "makes their disks"),
    Package("ovmf", "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "their firmware"),
    Package("swtpm", "swtpm", "their TPM"),
    Package("swtpm-tools", "swtpm_setup", "makes their TPM"),
    Package("bubblewrap", "bwrap", "keeps build steps away from the host"),
    Package("sbsigntool", "sbverify", "checks our Authenticode signatures"),
    Package("erofs-utils", "fsck.erofs", "checks the root file system"),
    Package("cryptsetup-bin", "veritysetup", "checks our hash trees"),
    Package("mtools", "mcopy", "looks into the boot partition"),
    Package("dosfstools", "fsck.fat", "checks the boot partition"),
    Package("fdisk", "sfdisk", "checks the partition tables that we write"),
    Package(
        "debian-archive-keyring",
        "/usr/share/keyrings/debian-archive-keyring.gpg",
        "says which package lists are Debian's",
    ),
)

Has = Callable[[str], bool]


def has(shows: str) -> bool:
    """Whether this program is on PATH, in the folders of system programs too, or this file exists."""
    if shows.startswith("/"):
        return Path(shows).exists()
    path = os.pathsep.join([Settings.from_environment().search_path, "/usr/sbin", "/sbin"])
    return shutil.which(shows, path=path) is not None


def missing_packages(has: Has = has) -> tuple[Package, ...]:
    """The packages that are not there yet."""
    return tuple(package for package in PACKAGES if not has(package.shows))


def usable(*, root: bool, missing: Sequence[Package], installable: bool) -> None:
    """Check what `make demo` needs before the first slow step; raises HostUnusable with one sentence.

    `root` is whether we are; `installable` whether apt-get is there, so that missing packages can be installed.
    """
    names = " ".join(package.name for package in missing)
    if not root:
        also = f", after installing {names} there" if missing and not installable else ""
        raise HostUnusable(
            ["root rights"], f"the image build and its checks need them: run this as root, for example with sudo{also}"
        )
    if missing and not installable:
        raise HostUnusable(
            [package.shows for package in missing], f"install what Debian calls {names}, or use a Debian host"
        )


def install(report: Callable[[str], None]) -> None:
    """Install the packages that are missing; nothing happens where none is.

    Raises HostUnusable when that takes rights or a package manager that are not there, or does not succeed.
    """
    missing = missing_packages()
    if not missing:
        return
    usable(root=os.geteuid() == 0, missing=missing, installable=shutil.which("apt-get") is not None)
    names = [package.name for package in missing]
    report(f"installing {', '.join(names)}")
    environment = dict(os.environ) | {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *names]):
        done = subprocess.run(
            [*apt, *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"apt-get ended with {done.returncode}"]
            raise HostUnusable([p.shows for p in missing], f"apt-get {arguments[0]} did not succeed: {lines[-1]}")
    left = missing_packages()
    if left:
        raise HostUnusable(
            [package.shows for package in left], f"the packages {' '.join(p.name for p in left)} did not bring them"
        )
