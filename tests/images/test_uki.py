from __future__ import annotations

import struct
from itertools import pairwise

import pytest

from sealwave.images import uki
from sealwave.images.errors import ImageError

ROOT_HASH = "ab" * 32


def make_stub(*, headers: int = 0x400, tail: bytes = b"") -> bytes:
    """A PE32+ file with two sections, .text and .sdmagic, the last one ending in the middle of a block."""
    stub = bytearray(headers)
    stub[:2] = b"MZ"
    struct.pack_into("<I", stub, 60, 0x80)
    stub[0x80:0x84] = b"PE\0\0"
    struct.pack_into("<HHIIIHH", stub, 0x84, 0x8664, 2, 0, 0, 0, 240, 0x22)
    struct.pack_into("<H", stub, 0x98, 0x20B)
    struct.pack_into("<I", stub, 0x98 + 56, 0x3000)
    struct.pack_into("<II", stub, 0x98 + 60, headers, 0xDEAD)
    struct.pack_into("<I", stub, 0x98 + 108, 16)  # data directories, the fifth of which is for certificates
    for index, name in enumerate((b".text", b".sdmagic")):
        place = headers + index * 0x200
        row = (name, 0x180, 0x1000 * (index + 1), 0x200, place, 0, 0, 0, 0, 0)
        struct.pack_into("<8sIIIIIIHHI", stub, 0x188 + index * 40, *row)
    return bytes(stub) + b"T" * 0x200 + b"S" * 0x200 + tail


def added() -> list[tuple[str, bytes]]:
    return uki.sections(
        kernel=b"K" * 9000,
        initrd=b"I" * 4096,
        os_release=b"ID=test\n",
        release="6.12",
        command=uki.command_line(ROOT_HASH),
    )


def headers_of(image: bytes) -> list[tuple[str, int, int, int, int]]:
    (count,) = struct.unpack_from("<H", image, 0x86)
    rows = [struct.unpack_from("<8sIIII", image, 0x188 + index * 40) for index in range(count)]
    return [(name.rstrip(b"\0").decode(), size, address, raw, at) for name, size, address, raw, at in rows]


def test_sections_come_back_as_they_went_in() -> None:
    image = uki.assemble(make_stub(), added())
    found = uki.read_sections(image)
    assert list(found) == [".text", ".sdmagic", ".linux", ".initrd", ".osrel", ".uname", ".cmdline"]
    assert found[".linux"] == b"K" * 9000
    assert found[".cmdline"].decode().split()[0] == f"roothash={ROOT_HASH}"
    assert found[".sdmagic"].startswith(b"S" * 0x180)


def test_added_sections_lie_on_blocks_and_leave_no_gap() -> None:
    image = uki.assemble(make_stub(), added())
    rows = sorted(headers_of(image), key=lambda row: row[4])
    for (_, _, address, raw, at), (name, _, next_address, _, next_at) in pairwise(rows):
        assert at + raw == next_at, f"a gap before {name} is hashed by some and skipped by others"
        assert next_address > address
    for name, _, address, raw, at in rows[2:]:
        assert (at % 4096, address % 4096, raw % 4096) == (0, 0, 0), name
    assert rows[-1][4] + rows[-1][3] == len(image)
    (size_of_image,) = struct.unpack_from("<I", image, 0x98 + 56)
    assert size_of_image >= rows[-1][2] + rows[-1][1]


def test_one_changed_root_hash_changes_one_block() -> None:
    parts = added()
    other = [*parts[:-1], (".cmdline", uki.command_line("cd" * 32).encode())]
    one, two = uki.assemble(make_stub(), parts), uki.assemble(make_stub(), other)
    assert len(one) == len(two)
    differing = [at for at in range(0, len(one), 4096) if one[at : at + 4096] != two[at : at + 4096]]
    assert len(differing) == 1


@pytest.mark.parametrize(
    ("stub", "reason"),
    [
        (b"", "no PE file"),
        (b"MZ" + bytes(30), "cut"),
        (make_stub(headers=0x200), "no room"),
        (make_stub(tail=b"x" * 600), "behind its last section"),
        (make_stub().replace(b"\x0b\x02", b"\x0b\x01", 1), "not PE32"),
        (make_stub().replace(b".text\0", b".osrel"), "already has"),
    ],
)
def test_a_stub_of_another_shape_is_refused(stub: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        uki.assemble(stub, added())


def test_the_command_line_closes_the_known_ways_around() -> None:
    words = uki.command_line(ROOT_HASH).split()
    for word in (
        "panic=10",
        "oops=panic",
        "systemd.import_credentials=no",
        "lockdown=integrity",
        "module.sig_enforce=1",
        "gpt",
        "systemd.volatile=state",
        "systemd.machine_id=firmware",
        "systemd.verity_root_options=panic-on-corruption",
    ):
        assert word in words
