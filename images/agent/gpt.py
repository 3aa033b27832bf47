"""GUID partition tables, pure: read either copy, change a partition, write both copies.

Rules:
1. 512-byte logical sectors and a table of 128 entries, as every tool writes it; anything else is refused.
2. A header counts only with its own checksum and that of its entries right.
3. Whoever writes a changed table writes the backup first, flushes, and then the primary: after a cut between the two,
   one copy is whole, and the kernel reads the backup when told `gpt` on its command line.
4. What is not ours in the table (attributes, other partitions) is kept as it is.

Standard library only: the node's agent carries this module.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

SECTOR: Final = 512
ENTRIES: Final = 128
ENTRY_SIZE: Final = 128
TABLE_SECTORS: Final = ENTRIES * ENTRY_SIZE // SECTOR
"""Sectors of the entries of one copy (32)."""

HEAD_BYTES: Final = (2 + TABLE_SECTORS) * SECTOR
"""Bytes at the start of a disk that hold protective MBR, primary header and primary entries."""

TAIL_BYTES: Final = (1 + TABLE_SECTORS) * SECTOR
"""Bytes at the end of a disk that hold backup entries and backup header."""

_HEADER: Final = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY: Final = struct.Struct("<16s16sQQQ72s")
_SIGNATURE: Final = b"EFI PART"
_REVISION: Final = 0x10000
_HEADER_SIZE: Final = 92


class GptError(ValueError):
    """A partition table cannot be read, or a change to it makes no sense."""


@dataclass(frozen=True)
class Partition:
    """One entry; `first` and `last` are sectors, both inclusive."""

    type: str
    guid: str
    first: int
    last: int
    name: str
    attributes: int = 0

    @property
    def offset(self) -> int:
        """First byte on the disk."""
        return self.first * SECTOR

    @property
    def size(self) -> int:
        """Length in bytes."""
        return (self.last - self.first + 1) * SECTOR

    def _to_bytes(self) -> bytes:
        name = self.name.encode("utf-16-le")
        if len(name) > 72:
            raise GptError(f"the partition name {self.name!r} is longer than 36 characters")
        return _ENTRY.pack(
            uuid.UUID(self.type).bytes_le,
            uuid.UUID(self.guid).bytes_le,
            self.first,
            self.last,
            self.attributes,
            name,
        )


@dataclass(frozen=True)
class Table:
    """A partition table for a disk of `sectors` sectors; entry i is partition number i + 1, None is an empty entry."""

    guid: str
    sectors: int
    partitions: tuple[Partition | None, ...]

    def named(self, name: str) -> Partition:
        """Return the partition with this name.

        Raises:
            GptError: there is none, or more than one.
        """
        found = [part for part in self.partitions if part is not None and part.name == name]
        if len(found) != 1:
            raise GptError(f"the disk has {len(found)} partitions named {name!r} where one is needed")
        return found[0]

    def with_guid(self, name: str, guid: str) -> Table:
        """Return a table in which the named partition has another PARTUUID."""
        old = self.named(name)
        new = replace(old, guid=str(uuid.UUID(guid)))
        return replace(self, partitions=tuple(new if part is old else part for part in self.partitions))

    def head(self) -> bytes:
        """Return the bytes for the start of the disk: protective MBR, primary header, primary entries."""
        return _protective_mbr(self.sectors) + self._header(here=1, other=self.sectors - 1, entries=2) + self._entries()

    def tail(self) -> bytes:
        """Return the bytes for the end of the disk: backup entries, backup header."""
        entries = self.sectors - 1 - TABLE_SECTORS
        return self._entries() + self._header(here=self.sectors - 1, other=1, entries=entries)

    def _entries(self) -> bytes:
        if len(self.partitions) > ENTRIES:
            raise GptError(f"{len(self.partitions)} partitions are more than {ENTRIES}")
        packed = b"".join(bytes(ENTRY_SIZE) if part is None else part._to_bytes() for part in self.partitions)
        return packed.ljust(ENTRIES * ENTRY_SIZE, b"\0")

    def _header(self, *, here: int, other: int, entries: int) -> bytes:
        first, last = 2 + TABLE_SECTORS, self.sectors - 2 - TABLE_SECTORS
        fields = (here, other, first, last, uuid.UUID(self.guid).bytes_le, entries, ENTRIES, ENTRY_SIZE)
        checksum = zlib.crc32(self._entries())
        blank = _HEADER.pack(_SIGNATURE, _REVISION, _HEADER_SIZE, 0, 0, *fields, checksum)
        packed = _HEADER.pack(_SIGNATURE, _REVISION, _HEADER_SIZE, zlib.crc32(blank), 0, *fields, checksum)
        return packed.ljust(SECTOR, b"\0")


def parse_head(head: bytes) -> Table:
    """Read the primary copy from the first `HEAD_BYTES` bytes of a disk.

    Raises:
        GptError: it is missing or spoiled; try the backup.
    """
    if len(head) < HEAD_BYTES:
        raise GptError(f"{len(head)} bytes are too few for a primary partition table")
    return _parse(head[SECTOR : 2 * SECTOR], head[2 * SECTOR : HEAD_BYTES], where="primary")


def parse_tail(tail: bytes) -> Table:
    """Read the backup copy from the last `TAIL_BYTES` bytes of a disk.

    Raises:
        GptError: it is missing or spoiled.
    """
    if len(tail) < TAIL_BYTES:
        raise GptError(f"{len(tail)} bytes are too few for a backup partition table")
    tail = tail[-TAIL_BYTES:]
    return _parse(tail[-SECTOR:], tail[:-SECTOR], where="backup")


def _parse(header: bytes, entries: bytes, *, where: str) -> Table:
    signature, revision, size, checksum, _, here, other, _first, _last, guid, _at, count, entry_size, entries_sum = (
        _HEADER.unpack_from(header)
    )
    if signature != _SIGNATURE or revision != _REVISION or size != _HEADER_SIZE:
        raise GptError(f"the {where} partition table is missing")
    blank = header[:16] + bytes(4) + header[20:size]
    if zlib.crc32(blank) != checksum or (count, entry_size) != (ENTRIES, ENTRY_SIZE):
        raise GptError(f"the header of the {where} partition table is spoiled")
    if zlib.crc32(entries) != entries_sum:
        raise GptError(f"the entries of the {where} partition table are spoiled")
    parts: list[Partition | None] = []
    for index in range(ENTRIES):
        kind, own, first, last, attributes, name = _ENTRY.unpack_from(entries, index * ENTRY_SIZE)
        if kind == bytes(16):
            parts.append(None)
            continue
        text = name.decode("utf-16-le", "replace").split("\0", 1)[0]
        type_guid, own_guid = str(uuid.UUID(bytes_le=kind)), str(uuid.UUID(bytes_le=own))
        parts.append(Partition(type_guid, own_guid, first, last, text, attributes))
    while parts and parts[-1] is None:
        parts.pop()
    return Table(guid=str(uuid.UUID(bytes_le=guid)), sectors=max(here, other) + 1, partitions=tuple(parts))


def _protective_mbr(sectors: int) -> bytes:
    entry = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, min(sectors - 1, 0xFFFFFFFF))
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


def place(sizes: Sequence[int], *, alignment: int) -> list[tuple[int, int]]:
    """Return (first, last) sector for partitions of these sizes in bytes, one after the other, each start aligned.

    Args:
        sizes: bytes of each partition, multiples of the alignment.
        alignment: bytes; a multiple of a sector.
    """
    placed: list[tuple[int, int]] = []
    at = -(-HEAD_BYTES // alignment) * alignment
    for size in sizes:
        if size <= 0 or size % alignment:
            raise GptError(f"a partition of {size} bytes is not a multiple of {alignment} bytes")
        placed.append((at // SECTOR, (at + size) // SECTOR - 1))
        at += size
    return placed
