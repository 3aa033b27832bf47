"""The pinned tools tree: the programs that make an image, unpacked from packages that the lock names.

The packages are unpacked and never configured: their maintainer scripts do not run, because no program in here needs
what they would do, and because a plain unpacking is quick and the same everywhere. The only program of the host that
takes part is `dpkg-deb`, which cannot change a byte of what it unpacks.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sealwave.images.debian import Package
from sealwave.images.errors import HostLacks
from sealwave.images.sandbox import run_program
from sealwave.images.store import Store, new_folder, write_atomic

TOOLS = (
    "apt",
    "bash",
    "coreutils",
    "cpio",
    "cryptsetup-bin",  # veritysetup
    "dosfstools",
    "dpkg",
    "e2fsprogs",
    "erofs-utils",
    "fdisk",  # sfdisk
    "findutils",
    "kmod",
    "mmdebstrap",
    "mtools",
    "python3",
    "systemd-boot-efi",  # the loader and the stub of unified kernel images
    "systemd-ukify",
    "tar",
    "util-linux",
    "xz-utils",
    "zstd",
)
"""What the steps of a build call, and why it is here where the name does not say it."""

UNPACK_SECONDS = 300.0
"""Longest unpacking of one package. Measured: 3 s for the largest."""

_LAYOUT = 1
"""Raised when this module lays out the same packages differently, so that an old tree is not taken for a new one."""

_FIRST = "base-files"
"""The package that holds /bin -> usr/bin and its like: unpacked first, so that nobody makes folders in their place."""

_USERS = "root:x:0:0:root:/root:/usr/sbin/nologin\n_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n"
_GROUPS = "root:x:0:\nnogroup:x:65534:\n"


def tools_key(packages: Sequence[Package]) -> str:
    """The name of the tree that these packages make, in hex."""
    lines = sorted(f"{package.name} {package.sha256}" for package in packages)
    return hashlib.sha256("\n".join([f"layout {_LAYOUT}", *lines]).encode()).hexdigest()


def tools_tree(packages: Sequence[Package], *, store: Store, cache: Path) -> Path:
    """The folder of the tree, made at first use under `cache`/trees. Raises `StoreError` and `HostLacks`."""
    target = cache / "trees" / tools_key(packages)
    if target.is_dir():
        return target
    files = {package.name: store.path(package.sha256, _label(package)) for package in packages}
    with new_folder(target) as scratch:
        unpack(files, scratch)
        _finish(scratch)
    return target


def unpack(files: dict[str, Path], folder: Path) -> None:
    """Unpack packages (by name) over each other into one folder, several at a time."""
    if shutil.which("dpkg-deb") is None:
        raise HostLacks("dpkg-deb", "install the package dpkg")
    if _FIRST in files:
        _unpack(files[_FIRST], folder)
    with ThreadPoolExecutor() as pool:
        for job in [pool.submit(_unpack, path, folder) for name, path in sorted(files.items()) if name != _FIRST]:
            job.result()


def _unpack(path: Path, folder: Path) -> None:
    run_program(["dpkg-deb", "--extract", str(path), str(folder)], seconds=UNPACK_SECONDS)


def _finish(tree: Path) -> None:
    """Put in by hand the little that the packages' scripts would have made."""
    write_atomic(tree / "etc/passwd", _USERS.encode())
    write_atomic(tree / "etc/group", _GROUPS.encode())
    awk = tree / "usr/bin/awk"
    if not awk.exists():
        awk.symlink_to("mawk")
    for unused in ("usr/share/doc", "usr/share/locale", "usr/share/man"):
        shutil.rmtree(tree / unused, ignore_errors=True)


def _label(package: Package) -> str:
    return f"the tool package {package.name} {package.version}"
