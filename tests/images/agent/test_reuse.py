"""Blocks that the running slot holds are copied, all others fetched, and each is compared before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwave.images.agent import reuse, stage
from sealwave.images.agent.platform import Part
from sealwave.images.agent.reuse import Run, open_held, plan_runs
from sealwave.images.agent.slots import Slot
from sealwave.images.agent.verity import BLOCK_SIZE, DataBlocks, block_digest
from tests.images.agent.test_backstop import Machine
from tests.simulated.images import FakeImage, Trust, make_image
from tests.simulated.platform import Faults
from tests.simulated.sources import FolderSource


def tree(content: Sequence[int]) -> DataBlocks:
    """Digests of blocks that are told apart by a number."""
    return DataBlocks("0" * 64, b"".join(block_digest(number.to_bytes(4, "big")) for number in content))


CASES: dict[str, tuple[list[int], list[int], list[Run]]] = {
    "equal": ([1, 2, 3], [1, 2, 3], [Run(0, 3, 0)]),
    "nothing in common": ([1, 2, 3], [4, 5], [Run(0, 2, None)]),
    "moved": ([1, 2, 3, 4], [3, 4, 1, 2], [Run(0, 2, 2), Run(2, 2, 0)]),
    "equal blocks keep their run": ([7, 0, 0, 0, 8], [7, 0, 0, 0, 8], [Run(0, 5, 0)]),
    "short copy between fetches is fetched": ([1, 2], [8, 1, 2, 9], [Run(0, 4, None)]),
    "short copy at the ends stays": ([1, 2], [1, 9, 2], [Run(0, 1, 0), Run(1, 1, None), Run(2, 1, 1)]),
}


@pytest.mark.parametrize("name", CASES)
def test_plan(name: str) -> None:
    held, wanted, runs = CASES[name]
    assert plan_runs(tree(wanted), tree(held)) == runs


def test_plan_without_a_readable_slot() -> None:
    assert plan_runs(tree([1, 2]), None) == [Run(0, 2, None)]


def test_long_copies_are_cut() -> None:
    content = list(range(600))
    assert [run.count for run in plan_runs(tree(content), tree(content))] == [256, 256, 88]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=200), st.lists(st.integers(0, 9), min_size=1, max_size=200))
def test_plan_covers_each_block_once_and_copies_right(held: list[int], wanted: list[int]) -> None:
    at = 0
    for run in plan_runs(tree(wanted), tree(held)):
        assert run.first == at
        at += run.count
        if run.source is not None:
            assert held[run.source : run.source + run.count] == wanted[run.first : run.first + run.count]
    assert at == len(wanted)


CHANGED = {0, 150, 151, 299}


@pytest.fixture
def next_image(tmp_path: Path, trust: Trust) -> FakeImage:
    return make_image(tmp_path / "next", version="2", release=trust.release, like="1", changed=CHANGED)


@pytest.fixture
def node(tmp_path: Path, v1: FakeImage, trust: Trust) -> Machine:
    return Machine.make(tmp_path / "node", v1, trust)


def staged(node: Machine, image: FakeImage) -> tuple[bytes, int]:
    """The other slot's root after staging, and the bytes of the root that were fetched."""
    source = FolderSource(image.folder, Faults())
    key = node.release_key
    release = stage.fetch_release(source, digest=image.digest, key=key, platform=node, slot=Slot.B)
    stage.write_slot(source, release, platform=node, slot=Slot.B, progress=lambda done, total: None)
    return node.partition(Part.ROOT, Slot.B).read_bytes()[: release.root.size], source.fetched["root.erofs"]


def test_only_what_changed_is_fetched(node: Machine, next_image: FakeImage) -> None:
    written, fetched = staged(node, next_image)
    assert written == (next_image.folder / "root.erofs").read_bytes()
    assert fetched == len(CHANGED) * BLOCK_SIZE


def test_rotten_block_is_fetched(node: Machine, next_image: FakeImage) -> None:
    with node.partition(Part.ROOT, Slot.A).open("r+b") as stream:
        stream.seek(20 * BLOCK_SIZE)
        stream.write(b"rot")
    written, fetched = staged(node, next_image)
    assert written == (next_image.folder / "root.erofs").read_bytes()
    assert fetched > len(CHANGED) * BLOCK_SIZE


def test_rotten_tree_copies_nothing(node: Machine, next_image: FakeImage) -> None:
    with node.partition(Part.VERITY, Slot.A).open("r+b") as stream:
        stream.seek(BLOCK_SIZE)
        stream.write(b"rot")
    assert open_held(node) is None
    written, fetched = staged(node, next_image)
    assert (written, fetched) == ((next_image.folder / "root.erofs").read_bytes(), len(written))


def test_disk_that_cannot_be_read(node: Machine, next_image: FakeImage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(held: reuse.Held, run: Run) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(reuse.Held, "read", fail)
    written, fetched = staged(node, next_image)
    assert (written, fetched) == ((next_image.folder / "root.erofs").read_bytes(), len(written))
