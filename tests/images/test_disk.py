from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwave.images import disk
from sealwave.images.agent import gpt
from sealwave.images.errors import ImageError
from sealwave.images.sandbox import TOOL_SECONDS, Sandbox

MIB = disk.MIB
LAYOUT = disk.Layout(esp=64 * MIB, root=32 * MIB, verity=2 * MIB, data=16 * MIB)
ROOT_HASH = "0123456789abcdef" * 4


def test_slot_a_is_named_by_the_root_hash_and_slot_b_is_empty() -> None:
    table = disk.table(LAYOUT, ROOT_HASH)
    assert table.named("root-a").guid.replace("-", "") == ROOT_HASH[:32]
    assert table.named("verity-a").guid.replace("-", "") == ROOT_HASH[32:]
    assert table.named("root-b").guid == disk.EMPTY_ROOT_B
    names = [part.name for part in table.partitions if part is not None]
    assert names == ["esp", "root-a", "verity-a", "root-b", "verity-b", "data"]
    for part in table.partitions:
        assert part is not None
        assert part.offset % MIB == 0
    assert table.named("data").last < table.sectors - 1 - gpt.TABLE_SECTORS


def test_both_copies_read_back_as_the_same_table() -> None:
    table = disk.table(LAYOUT, ROOT_HASH)
    assert len(table.head()) == gpt.HEAD_BYTES
    assert len(table.tail()) == gpt.TAIL_BYTES
    assert gpt.parse_head(table.head()) == table
    assert gpt.parse_tail(bytes(1000) + table.tail()) == table


@given(
    at=st.integers(gpt.SECTOR, gpt.SECTOR + 91) | st.integers(2 * gpt.SECTOR, gpt.HEAD_BYTES - 1), bit=st.integers(0, 7)
)
def test_a_flipped_bit_in_the_primary_copy_is_found(at: int, bit: int) -> None:
    head = bytearray(disk.table(LAYOUT, ROOT_HASH).head())
    head[at] ^= 1 << bit
    with pytest.raises(gpt.GptError):
        gpt.parse_head(bytes(head))


def test_a_changed_partuuid_changes_nothing_else() -> None:
    table = disk.table(LAYOUT, ROOT_HASH)
    other = "ffeeddcc-bbaa-9988-7766-554433221100"
    changed = gpt.parse_head(table.with_guid("root-b", other).head())
    assert changed.named("root-b").guid == other
    assert changed.with_guid("root-b", disk.EMPTY_ROOT_B) == table


def test_a_name_that_is_missing_or_double_is_refused() -> None:
    table = disk.table(LAYOUT, ROOT_HASH)
    with pytest.raises(gpt.GptError, match="0 partitions named 'root-c'"):
        table.named("root-c")


@pytest.mark.parametrize("copy", [b"", bytes(gpt.HEAD_BYTES), b"\xff" * gpt.HEAD_BYTES])
def test_bytes_that_are_no_table_are_refused(copy: bytes) -> None:
    with pytest.raises(gpt.GptError):
        gpt.parse_head(copy)
    with pytest.raises(gpt.GptError):
        gpt.parse_tail(copy)


@pytest.mark.parametrize(("mib", "sectors"), [(34, 1), (64, 1), (128, 2), (160, 4), (160 * 2, 8), (4096, 8)])
def test_clusters_are_as_large_as_fat32_allows(mib: int, sectors: int) -> None:
    assert disk.cluster_sectors(mib * MIB) == sectors
    assert mib * MIB // 512 // sectors >= 65525


def test_an_esp_too_small_for_fat32_is_refused() -> None:
    with pytest.raises(ImageError, match="34 or more"):
        disk.cluster_sectors(32 * MIB)


class _HostTools(Sandbox):
    """Runs this machine's own programs, where the images' tools are not built."""

    def run(
        self,
        arguments: Sequence[str | Path],
        *,
        read: Sequence[Path] = (),
        write: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        privileged: bool = False,
        stdin: bytes = b"",
        seconds: float = TOOL_SECONDS,
    ) -> bytes:
        variables = {"PATH": f"{os.environ['PATH']}:/usr/sbin", "SOURCE_DATE_EPOCH": str(self.epoch), "TZ": "UTC"}
        return subprocess.run(
            [str(argument) for argument in arguments], env=variables, check=True, capture_output=True
        ).stdout


@pytest.mark.skipif(shutil.which("mcopy") is None, reason="this machine has no mtools")
def test_esp_does_not_hang_on_readdir_order(tmp_path: Path) -> None:
    """Twelve files in one folder, made and named in two orders: a file system lists them in two orders as well."""
    names = [f"EFI/Linux/file-{number}.efi" for number in range(12)] + ["EFI/BOOT/BOOTX64.EFI", "loader/loader.conf"]
    digests = set()
    for run, order in enumerate((names, names[::-1])):
        folder = tmp_path / str(run)
        folder.mkdir()
        files = {}
        for name in order:
            files[name] = folder / name.replace("/", "-")
            files[name].write_bytes(name.encode() * 100)
            files[name].chmod(0o644 if run else 0o400)
        for part in ("root", "verity"):
            (folder / part).write_bytes(b"\1" * 4096)
        disk.write(
            folder / "disk.raw",
            layout=disk.Layout(esp=34 * MIB, root=MIB, verity=MIB, data=MIB),
            root_hash=ROOT_HASH,
            root=folder / "root",
            verity=folder / "verity",
            esp_files=files,
            tools=_HostTools(tmp_path, epoch=1_700_000_000),
        )
        digests.add(hashlib.sha256((folder / "disk.raw").read_bytes()).hexdigest())
    assert len(digests) == 1
