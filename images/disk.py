"""The disk of a new node: a GPT with an ESP, two slots and a data partition; slot a is filled, slot b is empty.

Rules:
1. Every identifier is derived: partitions in use from the root hash (the Discoverable Partitions Specification lets
   systemd find them by it), everything else fixed in this file, so that two builds of one image are one disk.
2. The file is sparse: what is zero is not written.
3. The data partition is left empty; the node formats it on its first boot, because a file system made here would carry
   a UUID and a hash seed that all nodes share.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from sealwave.images.agent import gpt
from sealwave.images.erofs import RootTooLarge
from sealwave.images.errors import ImageError
from sealwave.images.sandbox import Sandbox

MIB: Final = 1 << 20
TYPE_ESP: Final = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
TYPE_ROOT: Final = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
TYPE_VERITY: Final = "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"
TYPE_DATA: Final = "0fc63daf-8483-4772-8e79-3d69d8477de4"
DISK_GUID: Final = "f2b8e1d4-6a53-4c0e-9d71-5ea1a4e00010"
ESP_GUID: Final = "f2b8e1d4-6a53-4c0e-9d71-5ea1a4e00011"
DATA_GUID: Final = "f2b8e1d4-6a53-4c0e-9d71-5ea1a4e00012"
EMPTY_ROOT_B: Final = "f2b8e1d4-6a53-4c0e-9d71-5ea1a4e0001b"
EMPTY_VERITY_B: Final = "f2b8e1d4-6a53-4c0e-9d71-5ea1a4e0002b"

_FAT32_CLUSTERS: Final = 65525 + 1024
"""A FAT with fewer clusters than 65525 is FAT16 by definition; the rest is room for its own tables."""


@dataclass(frozen=True)
class Layout:
    """Sizes of the partitions in bytes, each a multiple of 1 MiB; `root` and `verity` are sizes per slot."""

    esp: int
    root: int
    verity: int
    data: int


def slot_guids(root_hash: str) -> tuple[str, str]:
    """Return the PARTUUIDs of root and verity partition for a root hash: its first and its second half."""
    return str(uuid.UUID(root_hash[:32])), str(uuid.UUID(root_hash[32:]))


def table(layout: Layout, root_hash: str) -> gpt.Table:
    """Return the partition table of a new disk with this image in slot a; pure."""
    root_a, verity_a = slot_guids(root_hash)
    rows = (
        (TYPE_ESP, ESP_GUID, "esp", layout.esp),
        (TYPE_ROOT, root_a, "root-a", layout.root),
        (TYPE_VERITY, verity_a, "verity-a", layout.verity),
        (TYPE_ROOT, EMPTY_ROOT_B, "root-b", layout.root),
        (TYPE_VERITY, EMPTY_VERITY_B, "verity-b", layout.verity),
        (TYPE_DATA, DATA_GUID, "data", layout.data),
    )
    places = gpt.place([size for *_, size in rows], alignment=MIB)
    end = (places[-1][1] + 1) * gpt.SECTOR + MIB
    partitions = tuple(
        gpt.Partition(kind, guid, first, last, name)
        for (kind, guid, name, _), (first, last) in zip(rows, places, strict=True)
    )
    return gpt.Table(guid=DISK_GUID, sectors=end // gpt.SECTOR, partitions=partitions)


def loader_configuration() -> bytes:
    """Return loader.conf: slot a is the fixed default of a new disk; the node's EFI variables overrule it later."""
    return b"timeout 0\ndefault sealwave-a.efi\neditor no\nauto-entries no\nauto-firmware no\n"


def write(
    output: Path,
    *,
    layout: Layout,
    root_hash: str,
    root: Path,
    verity: Path,
    esp_files: dict[str, Path],
    tools: Sandbox,
) -> gpt.Table:
    """Write the disk as a sparse file and return its partition table.

    Args:
        output: the file; an older one is replaced only when the new one is whole.
        layout: sizes from the spec.
        root_hash: of the image in slot a.
        root, verity: the files for slot a.
        esp_files: by path on the ESP, the files to copy there.
        tools: runs mkfs.fat and mtools; its epoch is the time stamp of files on the ESP.

    Raises:
        RootTooLarge: a file does not fit into its partition.
    """
    for source, slot, what in ((root, layout.root, "root"), (verity, layout.verity, "verity")):
        if source.stat().st_size > slot:
            raise RootTooLarge(size=source.stat().st_size, slot=slot, what=what)
    parts = table(layout, root_hash)
    part = output.with_name(output.name + ".part")
    esp = output.with_name(output.name + ".esp")
    try:
        _write_esp(esp, size=layout.esp, files=esp_files, tools=tools)
        with part.open("wb") as disk:
            disk.truncate(parts.sectors * gpt.SECTOR)
            disk.write(parts.head())
            for source, name in ((esp, "esp"), (root, "root-a"), (verity, "verity-a")):
                disk.seek(parts.named(name).offset)
                _copy_sparse(source, disk)
            disk.seek(parts.sectors * gpt.SECTOR - gpt.TAIL_BYTES)
            disk.write(parts.tail())
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
        esp.unlink(missing_ok=True)
    return parts


def cluster_sectors(size: int) -> int:
    """Return the largest cluster, in sectors of 512 bytes, with which a partition of `size` bytes is still FAT32."""
    sectors = 8
    while sectors > 1 and size // gpt.SECTOR // sectors < _FAT32_CLUSTERS:
        sectors //= 2
    if size // gpt.SECTOR // sectors < _FAT32_CLUSTERS:
        raise ImageError(
            f"an ESP of {size // MIB} MiB is too small for FAT32; raise disk.espMiB to 34 or more in the spec"
        )
    return sectors


def _write_esp(output: Path, *, size: int, files: dict[str, Path], tools: Sandbox) -> None:
    needed = sum(path.stat().st_size for path in files.values())
    if needed > size * 9 // 10:
        raise RootTooLarge(size=needed * 10 // 9, slot=size, what="esp")
    with output.open("wb") as file:
        file.truncate(size)
    fat: list[str | Path] = ["mkfs.fat", "-F32", f"-s{cluster_sectors(size)}", "-n", "ESP", "--invariant"]
    tools.run([*fat, output], write=[output.parent])
    # The order of calls decides the order of entries and clusters. A recursive mcopy would take the order in which the
    # host's file system lists a folder, and that differs between machines.
    folders = {str(folder) for path in files for folder in PurePosixPath(path).parents if folder.name}
    tools.run(["mmd", "-i", output, *(f"::{folder}" for folder in sorted(folders))], write=[output.parent])
    for path, source in sorted(files.items()):
        tools.run(["mcopy", "-Q", "-i", output, source, f"::{path}"], read=[source], write=[output.parent])


def _copy_sparse(source: Path, disk: BinaryIO) -> None:
    """Copy a file to where `disk` stands, leaving out runs of zeros: the disk file is zero there already."""
    with source.open("rb") as file:
        while chunk := file.read(MIB):
            if chunk.count(0) == len(chunk):
                disk.seek(len(chunk), 1)
            else:
                disk.write(chunk)
