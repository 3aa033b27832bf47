"""The kernel's verity table of the running root: what is verified, against which hash, on which partition.

The command line only says what was asked for; the table is what the kernel compares every block with. It is read by
the device-mapper's own interface (linux/dm-ioctl.h), because the node carries no dmsetup.
"""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass

__all__ = ["VerityTable", "parse_table", "read_table"]

# struct dm_ioctl and struct dm_target_spec; a whole table of one verity target has under 500 bytes.
_HEADER = struct.Struct("<3I2I1I1i1I1I1IQ128s129s7s")
_TARGET = struct.Struct("<QQiI16s")
_BUFFER = 16 * 1024
_TABLE_STATUS = 0xC138FD0C  # _IOWR(0xfd, 12, struct dm_ioctl)
_STATUS_TABLE = 1 << 4  # Ask for the table instead of the status.


@dataclass(frozen=True)
class VerityTable:
    """One verity target: device numbers of the data, `major:minor`, and the root hash in hex."""

    data_device: str
    root_hash: str


def read_table(name: str) -> VerityTable:
    """The table of the named device; raises OSError, or ValueError when it is no verity device."""
    buffer = bytearray(_BUFFER)
    _HEADER.pack_into(buffer, 0, 4, 0, 0, _BUFFER, _HEADER.size, 0, 0, _STATUS_TABLE, 0, 0, 0, name.encode(), b"", b"")
    descriptor = os.open("/dev/mapper/control", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _TABLE_STATUS, buffer, True)
    finally:
        os.close(descriptor)
    start, targets = struct.unpack_from("<2I", buffer, 16)
    if targets != 1:
        raise ValueError(f"{name} has {targets} targets")
    kind = _TARGET.unpack_from(buffer, start)[4].split(b"\0", 1)[0]
    if kind != b"verity":
        raise ValueError(f"{name} is a {kind.decode('ascii', 'replace')} device")
    text = bytes(buffer[start + _TARGET.size :]).split(b"\0", 1)[0]
    return parse_table(text.decode("ascii", "replace"))


def parse_table(text: str) -> VerityTable:
    """A verity target's parameters (Documentation/admin-guide/device-mapper/verity.rst); raises ValueError."""
    fields = text.split()
    if len(fields) < 10 or fields[7] != "sha256":
        raise ValueError("the table is not one of a sha256 verity target")
    return VerityTable(data_device=fields[1], root_hash=fields[8])
