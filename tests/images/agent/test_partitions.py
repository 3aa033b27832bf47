"""PARTUUIDs on a disk in a file, read back by the table's own parser and by sfdisk where there is one."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from sealwave.images.agent import gpt
from sealwave.images.agent.partitions import name_partitions
from sealwave.images.agent.slots import Slot

SIZE = 16 * 1024 * 1024
MIB = 1024 * 1024
NAMES = ("esp", "root-a", "verity-a", "root-b", "verity-b", "data")
LINUX = "0fc63daf-8483-4772-8e79-3d69d8477de4"
ROOT_HASH = "0123456789abcdef" * 4
HALVES = ("01234567-89ab-cdef-0123-456789abcdef", "01234567-89ab-cdef-0123-456789abcdef")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    places = gpt.place([2 * MIB] * len(NAMES), alignment=MIB)
    parts = tuple(
        gpt.Partition(LINUX, f"00000000-0000-4000-8000-00000000000{number}", first, last, name)
        for number, (name, (first, last)) in enumerate(zip(NAMES, places, strict=True))
    )
    table = gpt.Table("11111111-1111-4111-8111-111111111111", SIZE // gpt.SECTOR, parts)
    path = tmp_path / "disk"
    with path.open("wb") as stream:
        stream.write(table.head())
        stream.seek(SIZE - gpt.TAIL_BYTES)
        stream.write(table.tail())
    return path


def tables(disk: Path) -> tuple[gpt.Table, gpt.Table]:
    content = disk.read_bytes()
    return gpt.parse_head(content[: gpt.HEAD_BYTES]), gpt.parse_tail(content[-gpt.TAIL_BYTES :])


def test_both_tables_are_changed(disk: Path) -> None:
    before = tables(disk)[0]
    name_partitions(disk, size=SIZE, slot=Slot.B, root_hash=ROOT_HASH)
    primary, backup = tables(disk)
    assert primary == backup
    assert (primary.named("root-b").guid, primary.named("verity-b").guid) == HALVES
    for name in ("esp", "root-a", "verity-a", "data"):
        assert primary.named(name) == before.named(name)


@pytest.mark.parametrize("spoiled", [slice(512, 1024), slice(SIZE - 512, SIZE)], ids=["primary", "backup"])
def test_one_good_table_is_enough(disk: Path, spoiled: slice) -> None:
    content = bytearray(disk.read_bytes())
    content[spoiled] = bytes(512)
    disk.write_bytes(content)
    name_partitions(disk, size=SIZE, slot=Slot.A, root_hash=ROOT_HASH)
    primary, backup = tables(disk)
    assert primary == backup
    assert primary.named("root-a").guid == HALVES[0]


def test_a_larger_disk_gets_a_valid_backup(disk: Path) -> None:
    with disk.open("r+b") as stream:
        stream.truncate(2 * SIZE)
    name_partitions(disk, size=2 * SIZE, slot=Slot.B, root_hash=ROOT_HASH)
    primary, backup = tables(disk)
    assert primary == backup
    assert primary.sectors == 2 * SIZE // gpt.SECTOR
    here, other = struct.unpack_from("<QQ", disk.read_bytes(), 2 * SIZE - gpt.SECTOR + 24)
    assert (here, other) == (2 * SIZE // gpt.SECTOR - 1, 1)


def test_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.write_bytes(bytes(SIZE))
    with pytest.raises(gpt.GptError, match="missing"):
        name_partitions(path, size=SIZE, slot=Slot.A, root_hash=ROOT_HASH)
    assert path.read_bytes() == bytes(SIZE)


@pytest.mark.skipif(shutil.which("sfdisk") is None, reason="sfdisk is not installed")
def test_sfdisk_agrees(disk: Path) -> None:
    name_partitions(disk, size=SIZE, slot=Slot.B, root_hash=ROOT_HASH)
    shown = subprocess.run(["sfdisk", "--json", str(disk)], capture_output=True, check=True).stdout
    found = {part["name"]: part["uuid"].lower() for part in json.loads(shown)["partitiontable"]["partitions"]}
    assert (found["root-b"], found["verity-b"]) == HALVES
