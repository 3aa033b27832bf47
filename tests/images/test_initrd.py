from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sealwave.images import cpio, elf, initrd
from sealwave.images.errors import ImageError

DEPENDENCIES = """\
kernel/drivers/md/dm-mod.ko.xz:
kernel/drivers/md/dm-bufio.ko.xz: kernel/drivers/md/dm-mod.ko.xz
kernel/drivers/md/dm-verity.ko.xz: kernel/drivers/md/dm-bufio.ko.xz kernel/drivers/md/dm-mod.ko.xz
kernel/fs/erofs/erofs.ko.xz: kernel/lib/crc/libcrc32c.ko.xz
kernel/lib/crc/libcrc32c.ko.xz:
kernel/net/other.ko:
"""


def test_modules_come_with_what_they_need() -> None:
    table = initrd.parse_dependencies(DEPENDENCIES)
    chosen = initrd.select_modules(["dm_verity", "virtio_blk"], table, built_in={"virtio_blk"}, kernel="6.12")
    assert chosen == (
        "kernel/drivers/md/dm-bufio.ko.xz",
        "kernel/drivers/md/dm-mod.ko.xz",
        "kernel/drivers/md/dm-verity.ko.xz",
    )


def test_a_module_that_the_kernel_does_not_know_is_an_error() -> None:
    with pytest.raises(ImageError, match=r"6\.12 has no module nvme"):
        initrd.select_modules(["nvme"], initrd.parse_dependencies(DEPENDENCIES), built_in=set(), kernel="6.12")


@pytest.mark.parametrize(
    ("path", "name"),
    [("kernel/drivers/md/dm-verity.ko.xz", "dm_verity"), ("a/b.ko", "b"), ("virtio_blk.ko.zst", "virtio_blk")],
)
def test_module_names(path: str, name: str) -> None:
    assert initrd.module_name(path) == name


def test_a_tree_that_lacks_a_program_is_named_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="lacks usr/lib/os-release, which the initrd needs"):
        initrd.collect(tmp_path)


def test_no_shell_and_no_prompt_among_its_files() -> None:
    units = [path.name for path in initrd.OWN_FILES.rglob("*") if path.is_file()]
    assert "emergency.service" in units
    assert "emergency.target" in units
    emergency = (initrd.OWN_FILES / "system/emergency.service").read_text()
    assert "SuccessAction=reboot" in emergency
    assert "ExecStart" not in emergency


def unpack(archive: bytes) -> dict[str, tuple[int, bytes, int]]:
    """Read newc back, written apart from the writer: path -> (mode, content, mtime)."""
    found: dict[str, tuple[int, bytes, int]] = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        field = [int(archive[at + 6 + index * 8 : at + 14 + index * 8], 16) for index in range(13)]
        name_end = at + 110 + field[11]
        name = archive[at + 110 : name_end - 1].decode()
        start = name_end + -name_end % 4
        end = start + field[6]
        if name == "TRAILER!!!":
            return found
        found[name] = (field[1], archive[start:end], field[5])
        at = end + -end % 4


def test_the_archive_reads_back_sorted_and_with_one_time() -> None:
    entries = {
        "usr/bin/tool": cpio.regular(b"#" * 4097, 0o755),
        "init": cpio.link("usr/bin/tool"),
        "empty": cpio.regular(b""),
        "dev": cpio.folder(),
    }
    archive = cpio.archive(entries, mtime=1_700_000_000)
    found = unpack(archive)
    assert list(found) == ["dev", "empty", "init", "usr", "usr/bin", "usr/bin/tool"]
    assert found["init"] == (stat.S_IFLNK | 0o777, b"usr/bin/tool", 1_700_000_000)
    assert found["usr/bin/tool"] == (stat.S_IFREG | 0o755, b"#" * 4097, 1_700_000_000)
    assert archive == cpio.archive(dict(reversed(entries.items())), mtime=1_700_000_000)


def test_libraries_of_a_program_of_this_machine() -> None:
    program = Path("/bin/ls").resolve().read_bytes()
    linked = elf.links(program)
    assert "libc.so.6" in linked.needed
    assert linked.interpreter.startswith("/lib64/ld-linux")


def test_what_is_no_elf_has_no_libraries_and_a_cut_one_is_an_error() -> None:
    assert elf.links(b"#!/bin/sh\n") == elf.Links()
    with pytest.raises(ValueError, match="cut"):
        elf.links(Path("/bin/ls").resolve().read_bytes()[:100])
