"""Looking into an EROFS file without mounting it: names, modes and contents, for `verify`.

Written after the kernel's description of the on-disk format (Documentation/filesystems/erofs.rst), and apart from the
program that makes our images. Only what `erofs.freeze` asks for is read: 4096-byte blocks, no compression. Anything
else is an error, never a guess.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

BLOCK: Final = 4096
_SUPERBLOCK_AT: Final = 1024
_SUPERBLOCK: Final = struct.Struct("<IIIBBHQQIIII")
_MAGIC: Final = 0xE0F5E1E2
_COMPACT: Final = struct.Struct("<HHHHIII")
_EXTENDED: Final = struct.Struct("<HHHHQI")
_ENTRY: Final = struct.Struct("<QHBB")
_PLAIN, _INLINE = 0, 2
_ROOT_DEPTH: Final = 64
"""Folders inside folders; a deeper tree is a loop or hostile."""


class ErofsError(ValueError):
    """The file is no EROFS of our kind, or its tables point outside of it."""


@dataclass(frozen=True)
class Node:
    """One entry of the tree; `path` has no leading slash."""

    path: str
    mode: int
    size: int
    _layout: int
    _block: int
    _tail: int

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def offset(self) -> int:
        """Where in the file system's file its content begins; for what is stored in whole blocks."""
        return self._block * BLOCK

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link; its content is the target."""
        return stat.S_ISLNK(self.mode)


class Reader:
    """Reads one file system out of an open file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        magic, _sum, _compat, bits, _slots, root, *_rest, meta, _xattrs = _SUPERBLOCK.unpack(
            self._bytes(_SUPERBLOCK_AT, _SUPERBLOCK.size)
        )
        if magic != _MAGIC or bits != 12:
            raise ErofsError("the file is no EROFS with blocks of 4096 bytes")
        self._meta = meta * BLOCK
        self._root = root

    def walk(self) -> Iterator[Node]:
        """Every entry below the root, folders before what is in them.

        Raises:
            ErofsError: the file system is spoiled or of another kind.
        """
        yield from self._walk(self._node(self._root, ""), 0)

    def content(self, node: Node) -> bytes:
        """The bytes of a file, a link or a folder. Raises ErofsError."""
        if node._layout == _PLAIN:
            return self._bytes(node._block * BLOCK, node.size)
        whole = node.size // BLOCK * BLOCK
        return self._bytes(node._block * BLOCK, whole) + self._bytes(node._tail, node.size - whole)

    def _walk(self, folder: Node, depth: int) -> Iterator[Node]:
        if depth > _ROOT_DEPTH:
            raise ErofsError(f"the folders at {folder.path} are nested too deep")
        for name, number in self._entries(folder):
            node = self._node(number, f"{folder.path}/{name}".lstrip("/"))
            yield node
            if stat.S_ISDIR(node.mode):
                yield from self._walk(node, depth + 1)

    def _entries(self, folder: Node) -> Iterator[tuple[str, int]]:
        content = self.content(folder)
        for at in range(0, len(content), BLOCK):
            block = content[at : at + BLOCK]
            first = _ENTRY.unpack_from(block)[1]
            if first % _ENTRY.size or not 0 < first <= len(block):
                raise ErofsError(f"the folder {folder.path or '/'} is spoiled")
            entries = [_ENTRY.unpack_from(block, place) for place in range(0, first, _ENTRY.size)]
            ends = [entry[1] for entry in entries[1:]] + [len(block)]
            for (number, start, _kind, _), end in zip(entries, ends, strict=True):
                name = block[start:end].split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
                if name not in (".", ".."):
                    yield name, number

    def _node(self, number: int, path: str) -> Node:
        at = self._meta + number * 32
        head = self._bytes(at, 32)
        version = struct.unpack_from("<H", head)[0]
        shape, length = (_EXTENDED, 64) if version & 1 else (_COMPACT, 32)
        fields = shape.unpack_from(head)
        attributes, mode, size = fields[1], fields[2], fields[4]
        block = fields[5] if version & 1 else fields[6]
        layout = version >> 1 & 7
        if layout not in (_PLAIN, _INLINE):
            raise ErofsError(f"{path} is stored in a way (layout {layout}) that our images do not use")
        tail = at + length + (12 + 4 * (attributes - 1) if attributes else 0)
        return Node(path, mode, size if not stat.S_ISCHR(mode) and not stat.S_ISBLK(mode) else 0, layout, block, tail)

    def _bytes(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        content = self._file.read(length)
        if len(content) != length:
            raise ErofsError("the file system is cut or points outside of its file")
        return content


def nodes(path: Path) -> list[Node]:
    """Every entry of the file system in a file. Raises ErofsError."""
    with path.open("rb") as file:
        return list(Reader(file).walk())
