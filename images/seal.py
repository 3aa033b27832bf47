"""`seal`: from a finished root tree to the image folder, everything in it derived from the tree, the lock and the keys.

The order matters, because each file carries the hash of the one before:
1. The initrd is cut from the tree.
2. EROFS freezes the tree, without what only the sealing needs (kernel image, boot loader, package database).
3. dm-verity hashes the file system; its root hash goes into the kernel's command line.
4. Kernel, initrd and command line become one UKI, signed for the firmware, as is the boot loader.
5. The manifest lists these files; its SHA-256 is the image's digest; the release key signs it.
6. The disk of a new node holds all of it in slot a.

Nothing but the signatures depends on a private key, and RSA PKCS#1 v1.5 and ed25519 sign equal bytes equally: two seals
of one tree with one set of keys are equal byte by byte.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealwave.images import disk, erofs, initrd, manifest, uki, verity
from sealwave.images.agent.verity import BLOCK_SIZE
from sealwave.images.build import RootTree
from sealwave.images.errors import ImageError, LockMismatch, NoSpace, ToolFailed
from sealwave.images.steps import Progress, timed
from sealwave.images.store import hash_file, write_atomic
from sealwave.signing import authenticode, dsse
from sealwave.signing.keys import LabKeys

RELEASED: Final = ("root.erofs", "root.verity", "uki.efi", "loader.efi")
"""The files that a manifest lists and a node fetches."""

_BOOT: Final = "usr/lib/systemd/boot/efi"
_STUB: Final = f"{_BOOT}/linuxx64.efi.stub"
_LOADER: Final = f"{_BOOT}/systemd-bootx64.efi"

LEFT_OUT: Final = (r"^boot/.*", rf"^{_BOOT}(/.*)?$", r"^var/(cache|lib)/apt/.*", r"^var/lib/dpkg/.*", r"^var/log/.*")
"""Paths of the tree that the root does not need: they are in the UKI or on the ESP, or describe how a tree was made."""


@dataclass(frozen=True)
class Sealer:
    """Makes images with one set of keys; a `build.Seal`."""

    keys: LabKeys

    def __call__(self, tree: RootTree, *, out: Path, progress: Progress) -> None:
        """Write every file of the image into the existing folder `out`.

        Raises:
            LockMismatch: the lock trusts other keys than these.
            RootTooLarge: the image does not fit into the slots that the spec gives it.
            NoSpace: the disk under `out` is full.
            ImageError: the tree lacks something; ToolFailed: a tool failed.
        """
        check_keys(tree, self.keys)
        try:
            self._seal(tree, out.resolve(), progress)
        except ToolFailed as error:
            # A tool tells of a full disk in words only.
            if os.strerror(errno.ENOSPC) in error.output:
                raise NoSpace(out) from error
            raise
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(out) from error
            raise ImageError(
                f"{error.filename or out} cannot be written or read ({error.strerror}); check it"
            ) from error

    def _seal(self, tree: RootTree, out: Path, progress: Progress) -> None:
        layout = layout_of(tree)
        epoch = tree.lock.source_date_epoch
        kernel = tree.lock.kernel_abi
        with timed("initrd", progress):
            ramdisk = initrd.build(tree.folder, kernel=kernel, epoch=epoch, tools=tree.tools)
        root, hashes = out / "root.erofs", out / "root.verity"
        with timed("root", progress):
            size = erofs.freeze(tree.folder, root, epoch=epoch, tools=tree.tools, leave_out=LEFT_OUT)
            if size > layout.root:
                raise erofs.RootTooLarge(size=size, slot=layout.root)
        with timed("verity", progress):
            root_hash, superblock = verity.seal(root, hashes, tools=tree.tools)
        with timed("kernel", progress):
            self._sign_boot(tree, out, ramdisk=ramdisk, root_hash=root_hash)
            shape = manifest.Verity(verity.VERITY_UUID, superblock.data_blocks, hashes.stat().st_size // BLOCK_SIZE)
            document = manifest.encode(image_of(tree, root_hash=root_hash, shape=shape, folder=out))
            signed = dsse.sign(document, payload_type=manifest.PAYLOAD_TYPE, signer=self.keys.release.signer)
            write_atomic(out / "image.json", document)
            write_atomic(out / "image.json.dsse", signed)
        with timed("disk", progress):
            self._write_disk(tree, out, layout=layout, root_hash=root_hash)

    def _sign_boot(self, tree: RootTree, out: Path, *, ramdisk: bytes, root_hash: str) -> None:
        kernel = tree.lock.kernel_abi
        parts = uki.sections(
            kernel=_read(tree.folder, f"boot/vmlinuz-{kernel}"),
            initrd=ramdisk,
            os_release=_read(tree.folder, "usr/lib/os-release"),
            release=kernel,
            command=uki.command_line(root_hash),
        )
        unsigned = {
            "uki.efi": uki.assemble(_read(tree.folder, _STUB), parts),
            "loader.efi": _read(tree.folder, _LOADER),
        }
        key = self.keys.database
        for name, content in unsigned.items():
            write_atomic(out / name, authenticode.sign_pe(content, certificate=key.certificate, key=key.key))

    def _write_disk(self, tree: RootTree, out: Path, *, layout: disk.Layout, root_hash: str) -> None:
        settings = out / "loader.conf"
        settings.write_bytes(disk.loader_configuration())
        try:
            disk.write(
                out / "disk.raw",
                layout=layout,
                root_hash=root_hash,
                root=out / "root.erofs",
                verity=out / "root.verity",
                esp_files={
                    "EFI/BOOT/BOOTX64.EFI": out / "loader.efi",
                    "EFI/Linux/sealwave-a.efi": out / "uki.efi",
                    "EFI/sealwave/a.json": out / "image.json",
                    "EFI/sealwave/a.dsse": out / "image.json.dsse",
                    "loader/loader.conf": settings,
                },
                tools=tree.tools,
            )
        finally:
            settings.unlink()


def check_keys(tree: RootTree, keys: LabKeys) -> None:
    """Refuse to seal an image whose trust anchors are not the public halves of these keys. Raises `LockMismatch`."""
    held = {
        "release": keys.public_path("release"),
        "config": keys.public_path("config"),
        "Secure Boot": keys.certificate_path("db"),
    }
    trust = tree.lock.trust
    locked = {"release": trust.release, "config": trust.config, "Secure Boot": trust.secure_boot}
    for role, path in held.items():
        if hash_file(path) != locked[role]:
            raise LockMismatch(
                f"the lock trusts another {role} key than {path}; use the keys that it was made with, or run "
                "`sealwave image lock` again"
            )


def layout_of(tree: RootTree) -> disk.Layout:
    """Return the sizes of the partitions that the spec asks for, in bytes."""
    sizes = tree.spec.disk
    return disk.Layout(
        esp=sizes.esp_mib * disk.MIB,
        root=sizes.root_mib * disk.MIB,
        verity=sizes.verity_mib * disk.MIB,
        data=sizes.data_mib * disk.MIB,
    )


def image_of(tree: RootTree, *, root_hash: str, shape: manifest.Verity, folder: Path) -> manifest.Image:
    """Return the manifest of the files in `folder`."""
    spec, lock = tree.spec, tree.lock
    kubelet = next((part.version for part in lock.go_parts if part.name == "kubelet"), "none")
    return manifest.Image(
        name=spec.name,
        version=spec.version,
        arch=spec.arch,
        release_number=spec.release_number,
        floor=spec.floor,
        compat_class=spec.compat_class,
        keep=spec.keep,
        source_date_epoch=lock.source_date_epoch,
        root_hash=root_hash,
        verity=shape,
        kernel_abi=lock.kernel_abi,
        kernel_version=lock.kernel_version,
        kubelet_version=kubelet,
        lock=f"sha256:{lock.sha256}",
        trust_release=f"sha256:{lock.trust.release}",
        trust_config=f"sha256:{lock.trust.config}",
        trust_secure_boot=f"sha256:{lock.trust.secure_boot}",
        files=tuple(_listed(folder / name) for name in RELEASED),
    )


def _listed(path: Path) -> manifest.ImageFile:
    return manifest.ImageFile(path.name, path.stat().st_size, hash_file(path))


def _read(tree: Path, path: str) -> bytes:
    try:
        return (tree / path).read_bytes()
    except OSError as error:
        raise ImageError(f"the root tree lacks {path}, which the boot needs; add its package to the spec") from error
