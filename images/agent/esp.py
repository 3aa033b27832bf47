"""The EFI system partition: a slot's boot entry, and the signed manifest of the image in it.

Rules:
1. A boot entry takes its name last, when everything that it boots is on the disk; it is removed first.
2. FAT has no journal: each step is flushed before the next one begins.
3. Nothing here is trusted for being here. A manifest counts only when the release key signed it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from sealwave.images.agent.errors import PlatformFailed
from sealwave.images.agent.release import read_manifest
from sealwave.images.agent.slots import Slot, StoredImage
from sealwave.signing.errors import SigningError
from sealwave.signing.files import sync_folder

__all__ = [
    "entry_path",
    "list_entries",
    "publish_entry",
    "read_image",
    "remove_slot",
    "temporary_entry",
    "write_file",
    "write_manifest",
]

# Bytes; manifests and envelopes are under 100 KiB, and the partition is not a trusted place.
_MANIFEST_LIMIT = 1024 * 1024


def entry_path(esp: Path, slot: Slot) -> Path:
    """Where the boot loader finds the slot's UKI."""
    return esp / "EFI" / "Linux" / slot.entry


def list_entries(esp: Path) -> frozenset[Slot]:
    """The slots that have a boot entry; raises PlatformFailed when that cannot be seen, as when nothing is mounted."""
    folder = esp / "EFI" / "Linux"
    try:
        names = {entry.name.lower() for entry in folder.iterdir()}
    except OSError as error:
        raise PlatformFailed("listing the boot entries", str(error)) from error
    return frozenset(slot for slot in Slot if slot.entry in names)


def temporary_entry(esp: Path, slot: Slot) -> Path:
    """Where a UKI is written before it is known to be right; the boot loader does not look there."""
    return esp / "EFI" / "sealwave" / f"{slot.value}.new"


def read_image(esp: Path, slot: Slot, *, key: bytes) -> StoredImage | None:
    """The image that the slot's signed manifest describes; None when there is none that the key has signed."""
    document, envelope = _manifest_paths(esp, slot)
    try:
        with document.open("rb") as stream:
            payload = stream.read(_MANIFEST_LIMIT)
        with envelope.open("rb") as stream:
            signed = stream.read(_MANIFEST_LIMIT)
        return read_manifest(payload, signed, key=key).stored
    except (OSError, SigningError, ValueError):
        return None


def remove_slot(esp: Path, slot: Slot) -> None:
    """Remove the slot's boot entry, flush that, and then its manifest: from here on the slot cannot be booted."""
    for path in (entry_path(esp, slot), temporary_entry(esp, slot), *_manifest_paths(esp, slot)):
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_folder(path.parent)


def write_file(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file and flush it, making its folder; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        for chunk in chunks:
            stream.write(chunk)
        stream.flush()
        os.fsync(stream.fileno())
    sync_folder(path.parent)


def write_manifest(esp: Path, slot: Slot, document: bytes, envelope: bytes) -> None:
    """Write the slot's manifest and its signature."""
    for path, content in zip(_manifest_paths(esp, slot), (document, envelope), strict=True):
        write_file(path, [content])


def publish_entry(esp: Path, slot: Slot) -> None:
    """Give the temporary UKI the name that the boot loader looks for: the slot can be booted from here on."""
    source, target = temporary_entry(esp, slot), entry_path(esp, slot)
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
    sync_folder(target.parent)
    sync_folder(source.parent)


def _manifest_paths(esp: Path, slot: Slot) -> tuple[Path, Path]:
    folder = esp / "EFI" / "sealwave"
    return folder / f"{slot.value}.json", folder / f"{slot.value}.dsse"
