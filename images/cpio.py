"""The cpio archive that the kernel unpacks as its first root ("newc", Documentation/driver-api/early-userspace).

Deterministic by construction: entries are written in the order of their paths, with inode numbers counted from 1, owner
root, one modification time, and no device numbers.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_TRAILER: Final = "TRAILER!!!"


@dataclass(frozen=True)
class Entry:
    """One file, folder or link: `mode` holds type and permission bits; a link's `content` is its target."""

    mode: int
    content: bytes = b""


def folder(permissions: int = 0o755) -> Entry:
    """Return a folder."""
    return Entry(stat.S_IFDIR | permissions)


def regular(content: bytes, permissions: int = 0o644) -> Entry:
    """Return a regular file."""
    return Entry(stat.S_IFREG | permissions, content)


def link(target: str) -> Entry:
    """Return a symbolic link."""
    return Entry(stat.S_IFLNK | 0o777, target.encode())


def archive(entries: Mapping[str, Entry], *, mtime: int) -> bytes:
    """Write entries as one archive; folders that are missing above an entry are added.

    Args:
        entries: by path, relative to the root and without a leading slash.
        mtime: seconds since 1970 for every entry.
    """
    complete = dict(entries)
    for path in entries:
        above = path.split("/")[:-1]
        for depth in range(1, len(above) + 1):
            complete.setdefault("/".join(above[:depth]), folder())
    written = bytearray()
    for inode, path in enumerate(sorted(complete), start=1):
        _append(written, path, complete[path], inode=inode, mtime=mtime)
    _append(written, _TRAILER, Entry(0), inode=0, mtime=0)
    return bytes(written)


def _append(written: bytearray, path: str, entry: Entry, *, inode: int, mtime: int) -> None:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (inode, entry.mode, 0, 0, links, mtime, len(entry.content), 0, 0, 0, 0, len(name), 0)
    written += b"070701" + b"".join(b"%08x" % value for value in fields) + name
    written += bytes(-len(written) % 4)
    written += entry.content
    written += bytes(-len(written) % 4)
