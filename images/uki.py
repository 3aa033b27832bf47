"""A unified kernel image: systemd's EFI stub with kernel, initrd and command line as sections of one PE file.

Rules:
1. Every section that is added begins and ends on a multiple of 4096 bytes in the file, so that equal parts of two
   images are equal blocks (the delta between UKIs is made of blocks).
2. The stub's own sections, among them `.sdmagic`, stay as they are: the loader knows a UKI by them.
3. The large parts come first and the small ones last, so that a longer command line moves nothing.
4. The result is unsigned; `signing` adds the Authenticode signature, which covers every byte of it.

The section names are those of the UAPI Unified Kernel Image specification. Pure: bytes in, bytes out.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from sealwave.images.errors import ImageError

ALIGNMENT: Final = 4096
"""Bytes to which sections are aligned, in the file and in memory."""

COMMAND_LINE: Final = (
    "systemd.volatile=state",
    "systemd.machine_id=firmware",
    "systemd.verity_root_options=panic-on-corruption",
    "panic=10",
    "oops=panic",
    "systemd.import_credentials=no",
    "lockdown=integrity",
    "module.sig_enforce=1",
    "gpt",
    "console=ttyS0",
    "quiet",
)
"""What every image's kernel is told, beside its root hash. The reasons:

/var lives in memory. The machine id is the machine's own and is never written. A block that is not the signed one ends
in a panic, where an I/O error would leave half a system running: a PID 1 that cannot read its own code freezes and
keeps the machine. A panic or an oops reboots. Credentials from the machine's surroundings (SMBIOS, fw_cfg) would be
unsigned configuration. Only signed modules load. The kernel may use the backup GPT. Messages go to the serial line.
"""

_HEADER: Final = struct.Struct("<8sIIIIIIHHI")
_READ_ONLY_DATA: Final = 0x40000040
"""IMAGE_SCN_CNT_INITIALIZED_DATA and IMAGE_SCN_MEM_READ."""


def command_line(root_hash: str, extra: Sequence[str] = ()) -> str:
    """Return the signed command line of an image with this root hash."""
    return " ".join((f"roothash={root_hash}", *COMMAND_LINE, *extra))


def sections(*, kernel: bytes, initrd: bytes, os_release: bytes, release: str, command: str) -> list[tuple[str, bytes]]:
    """Return the sections that make a UKI, in the order in which they are put into the file (rule 3)."""
    return [
        (".linux", kernel),
        (".initrd", initrd),
        (".osrel", os_release),
        (".uname", release.encode()),
        (".cmdline", command.encode()),
    ]


def assemble(stub: bytes, added: Sequence[tuple[str, bytes]]) -> bytes:
    """Append sections to the stub.

    Raises:
        ImageError: the stub is no PE32+ file, has no room for the headers, or already has such a section.
    """
    try:
        return _assemble(stub, added)
    except struct.error as error:
        raise ImageError("the EFI stub is cut; take it from a good systemd-boot-efi package") from error


def _assemble(stub: bytes, added: Sequence[tuple[str, bytes]]) -> bytes:
    if stub[:2] != b"MZ":
        raise ImageError("the EFI stub is no PE file; take it from a good systemd-boot-efi package")
    (coff,) = struct.unpack_from("<I", stub, 60)
    (count,) = struct.unpack_from("<H", stub, coff + 6)
    (optional_size,) = struct.unpack_from("<H", stub, coff + 20)
    optional = coff + 24
    if struct.unpack_from("<H", stub, optional)[0] != 0x20B:
        raise ImageError("the EFI stub is not PE32+; take the x86-64 one")
    (headers_size,) = struct.unpack_from("<I", stub, optional + 60)
    table = optional + optional_size
    if table + (count + len(added)) * _HEADER.size > headers_size:
        raise ImageError(f"the EFI stub has no room for {len(added)} more section headers")
    names, memory_end = _existing(stub, table, count)
    image = bytearray(stub) + bytes(-len(stub) % ALIGNMENT)
    _close_gap(image, table, count, was=len(stub))
    for index, (name, content) in enumerate(added):
        if name in names:
            raise ImageError(f"the EFI stub already has a section {name}")
        address = _up(memory_end)
        padded = content + bytes(-len(content) % ALIGNMENT)
        at = table + (count + index) * _HEADER.size
        _HEADER.pack_into(
            image, at, name.encode(), len(content), address, len(padded), len(image), 0, 0, 0, 0, _READ_ONLY_DATA
        )
        image += padded
        memory_end = address + len(content)
    struct.pack_into("<H", image, coff + 6, count + len(added))
    (data_size,) = struct.unpack_from("<I", image, optional + 8)
    grown = sum(len(content) + -len(content) % ALIGNMENT for _, content in added)
    struct.pack_into("<I", image, optional + 8, data_size + grown)  # SizeOfInitializedData
    struct.pack_into("<I", image, optional + 56, _up(memory_end))  # SizeOfImage
    struct.pack_into("<I", image, optional + 64, 0)  # CheckSum: unused by firmware, and of the stub alone.
    return bytes(image)


def _close_gap(image: bytearray, table: int, count: int, *, was: int) -> None:
    """Count the padding after the stub to the section that ends there.

    A gap between sections would be hashed by some and skipped by others: firmware adds up the sizes of the sections and
    takes everything after that sum for trailing data, so that a signature over the whole file would not match.
    """
    for index in range(count):
        at = table + index * _HEADER.size + 16
        size, offset = struct.unpack_from("<II", image, at)
        if size and offset + size == was:
            struct.pack_into("<I", image, at, len(image) - offset)
            return
    raise ImageError("the EFI stub has data behind its last section; take it from a good systemd-boot-efi package")


def _existing(stub: bytes, table: int, count: int) -> tuple[set[str], int]:
    names: set[str] = set()
    end = 0  # In memory, where the padding of a section's data does not count.
    for index in range(count):
        name, size, address, raw_size, *_ = _HEADER.unpack_from(stub, table + index * _HEADER.size)
        names.add(name.rstrip(b"\0").decode())
        end = max(end, address + (size or raw_size))
    return names, end


def read_sections(image: bytes) -> dict[str, bytes]:
    """Return the sections of a PE file by name, each cut to its length in memory; used to look into a built UKI.

    Raises:
        ImageError: the bytes are no PE file.
    """
    try:
        if image[:2] != b"MZ":
            raise ImageError("the file is no PE file")
        (coff,) = struct.unpack_from("<I", image, 60)
        count, optional_size = struct.unpack_from("<H12xH", image, coff + 6)
        found: dict[str, bytes] = {}
        for index in range(count):
            at = coff + 24 + optional_size + index * _HEADER.size
            name, size, _address, raw_size, offset, *_ = _HEADER.unpack_from(image, at)
            found[name.rstrip(b"\0").decode()] = image[offset : offset + min(size, raw_size)]
    except struct.error as error:
        raise ImageError("the PE file is cut") from error
    return found


def _up(value: int) -> int:
    return value + -value % ALIGNMENT
