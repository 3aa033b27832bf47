"""Firmware variables that the boot loader reads (systemd.io/BOOT_LOADER_INTERFACE), through efivarfs.

One write to the file is one SetVariable call of the firmware, which is in its flash when the write returns. The kernel
marks the files immutable against accidents, so that mark is taken off first.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from sealwave.images.agent.errors import PlatformFailed

__all__ = ["LOADER", "SECURITY", "EfiVariables"]

# Vendor GUIDs: the boot loader interface, and EFI_GLOBAL_VARIABLE.
LOADER = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
SECURITY = "8be4df61-93ca-11d2-aa0d-00e098032b8c"

# NON_VOLATILE | BOOTSERVICE_ACCESS | RUNTIME_ACCESS (UEFI 2.10, 8.2).
_ATTRIBUTES = 0x7
# linux/fs.h, for 64-bit machines.
_GET_FLAGS = 0x80086601
_SET_FLAGS = 0x40086602
_IMMUTABLE = 0x10


class EfiVariables:
    """The variables below a mount of efivarfs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str, *, vendor: str) -> bytes | None:
        """The value without its attributes; None when there is no such variable."""
        try:
            content = self._path(name, vendor).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PlatformFailed(f"reading the firmware variable {name}", str(error)) from error
        return content[4:]

    def read_text(self, name: str, *, vendor: str) -> str | None:
        """The value as the text that it holds (UTF-16 with a final zero)."""
        value = self.read(name, vendor=vendor)
        return None if value is None else value.decode("utf-16-le", "replace").split("\0", 1)[0]

    def write_text(self, name: str, text: str, *, vendor: str) -> None:
        """Set the variable; flash wears out, so an equal value is not written again."""
        if self.read_text(name, vendor=vendor) == text:
            return
        path = self._path(name, vendor)
        value = struct.pack("<I", _ATTRIBUTES) + text.encode("utf-16-le") + b"\0\0"
        try:
            _make_mutable(path)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.write(descriptor, value)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise PlatformFailed(f"writing the firmware variable {name}", str(error)) from error

    def delete(self, name: str, *, vendor: str) -> None:
        """Remove the variable, if it is there."""
        path = self._path(name, vendor)
        try:
            _make_mutable(path)
            path.unlink(missing_ok=True)
        except OSError as error:
            raise PlatformFailed(f"removing the firmware variable {name}", str(error)) from error

    def _path(self, name: str, vendor: str) -> Path:
        return self._folder / f"{name}-{vendor}"


def _make_mutable(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        flags = struct.unpack("l", fcntl.ioctl(descriptor, _GET_FLAGS, struct.pack("l", 0)))[0]
        if flags & _IMMUTABLE:
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", flags & ~_IMMUTABLE))
    finally:
        os.close(descriptor)
