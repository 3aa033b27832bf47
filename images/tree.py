"""The first half of a root tree: packages from the store, installed offline inside the tools tree, and slimmed.

The packages' own scripts run here, in a chroot of the tree without network. A folder of links into the store, with an
index made from the packages themselves, stands in for a mirror: apt has nothing to choose from but what the lock names.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from sealwave.images import deb
from sealwave.images.lock import Lock
from sealwave.images.sandbox import Sandbox
from sealwave.images.spec import NodeImage
from sealwave.images.store import Store

_NOT_UNPACKED = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/lintian/*",
    "/usr/share/bug/*",
)
"""What no node reads: left out already when packages are unpacked, because writing it first takes time."""

_BUILD_ENVIRONMENT = {
    "INITRD": "No",  # the kernel's scripts would make an initrd; ours is made from the finished tree
    "PYTHONDONTWRITEBYTECODE": "1",
}


def install_packages(spec: NodeImage, lock: Lock, *, store: Store, tools: Sandbox, target: Path) -> None:
    """Install the locked packages as the new folder `target`, owned by root, with every file as its package has it.

    Raises `StoreError` for a file of the store, `ToolFailed` when a package cannot be installed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".install-") as name:
        archive, root = Path(name, "archive"), Path(name, "tree")
        archive.mkdir()
        fill_archive(spec, lock, store=store, archive=archive)
        tools.run(
            [
                "mmdebstrap",
                "--mode=root",
                "--variant=essential",
                f"--architectures={spec.arch}",
                f"--include={','.join(spec.wanted)}",
                *(f"--dpkgopt=path-exclude={pattern}" for pattern in _NOT_UNPACKED),
                "--dpkgopt=force-unsafe-io",
                "--skip=output/dev",
                "--format=directory",
                spec.suite,
                root,
                f"deb [trusted=yes] copy:{archive} ./",
            ],
            read=[archive],
            write=[Path(name)],
            environment=_BUILD_ENVIRONMENT,
            privileged=True,
        )
        root.rename(target)


def fill_archive(spec: NodeImage, lock: Lock, *, store: Store, archive: Path) -> None:
    """Make a flat archive of the locked packages in an empty folder; every file is hashed on the way."""
    entries = []
    for package in lock.packages:
        data = store.read(package.sha256, f"the package {package.name} {package.version}")
        entries.append((package, deb.control(data, package.name)))
        place = archive / deb.file_name(package)
        try:
            os.link(store.place(package.sha256), place)
        except OSError:  # the store stands on another disk, or on one without hard links
            shutil.copyfile(store.place(package.sha256), place)
    index = deb.packages_index(entries)
    (archive / "Packages").write_bytes(index)
    release = deb.release_file(index, suite=spec.suite, architecture=spec.arch, date=lock.source_date_epoch)
    (archive / "Release").write_bytes(release)
