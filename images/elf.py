"""Which shared libraries a 64-bit little-endian ELF file asks its loader for: DT_NEEDED and PT_INTERP, nothing else.

Libraries that a program opens by itself (dlopen) are not seen here; `initrd` names those.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_MAGIC: Final = b"\x7fELF\x02\x01"
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB = 1, 5
_PROGRAM_HEADER: Final = struct.Struct("<IIQQQQQQ")


@dataclass(frozen=True)
class Links:
    """What an ELF file is linked against: library names and the path of its loader (empty for a library)."""

    needed: tuple[str, ...] = ()
    interpreter: str = ""


def links(content: bytes) -> Links:
    """Read the names; a file that is no ELF file of this kind has none.

    Raises:
        ValueError: the file begins as ELF and its tables reach outside of it.
    """
    if not content.startswith(_MAGIC):
        return Links()
    try:
        return _links(content)
    except (struct.error, IndexError) as error:
        raise ValueError("an ELF file is cut or its tables are wrong") from error


def _links(content: bytes) -> Links:
    (table,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    loads: list[tuple[int, int, int]] = []
    dynamic = (0, 0)
    interpreter = ""
    for index in range(count):
        kind, _flags, offset, address, _physical, length, _memory, _align = _PROGRAM_HEADER.unpack_from(
            content, table + index * size
        )
        if kind == _PT_LOAD:
            loads.append((address, offset, length))
        elif kind == _PT_DYNAMIC:
            dynamic = (offset, length)
        elif kind == _PT_INTERP:
            interpreter = content[offset : offset + length].rstrip(b"\0").decode()
    entries = [struct.unpack_from("<QQ", content, dynamic[0] + at) for at in range(0, dynamic[1], 16)]
    strings = next((value for tag, value in entries if tag == _DT_STRTAB), 0)
    place = next(
        (strings - address + offset for address, offset, length in loads if 0 <= strings - address < length), 0
    )
    needed = [_string(content, place + value) for tag, value in entries if tag == _DT_NEEDED]
    return Links(tuple(needed), interpreter)


def _string(content: bytes, at: int) -> str:
    return content[at : content.index(b"\0", at)].decode()
