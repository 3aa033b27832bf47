"""Blocks of a new image that this machine holds already, in the slot that runs.

The hash tree of the running slot says where each of its blocks lies, and the tree of the new image which blocks it
wants. What both name is copied from disk to disk; only the rest is fetched. Nothing is trusted for being here: a copied
block is compared with the new tree before it is written, as a fetched one is, and one that has rotted is fetched.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealwave.images.agent.platform import Part, Platform
from sealwave.images.agent.verity import (
    BLOCK_SIZE,
    DIGEST_SIZE,
    DataBlocks,
    VerityError,
    hash_blocks,
    parse_superblock,
    read_tree,
)

__all__ = ["Held", "Run", "open_held", "plan_runs"]

# Blocks. A copied run is read at once, so it is at most 1 MiB.
LONGEST_COPY = 256
# Blocks. Fewer held ones than this between two fetched runs are fetched along: a request costs more than they do.
SHORTEST_COPY = 32


@dataclass(frozen=True)
class Run:
    """Consecutive blocks of the new image; `source` is where they begin in the running slot, None if to be fetched."""

    first: int
    count: int
    source: int | None


@dataclass(frozen=True)
class Held:
    """The running slot: its verified digests and the device that holds the blocks."""

    blocks: DataBlocks
    device: Path

    def read(self, run: Run) -> bytes:
        """The blocks of a copied run as they are on the disk, not verified; raises OSError."""
        assert run.source is not None
        descriptor = os.open(self.device, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, run.count * BLOCK_SIZE, run.source * BLOCK_SIZE)
        finally:
            os.close(descriptor)


def open_held(platform: Platform) -> Held | None:
    """The running slot, its tree verified against the root hash that runs; None when it cannot be read."""
    running = platform.running()
    try:
        with platform.partition(Part.VERITY, running.slot).open("rb") as stream:
            superblock = parse_superblock(stream.read(BLOCK_SIZE))
            stream.seek(0)
            tree = stream.read(hash_blocks(superblock.data_blocks) * BLOCK_SIZE)
        _, blocks = read_tree(tree, running.root_hash)
    except (OSError, VerityError):
        return None
    return Held(blocks, platform.partition(Part.ROOT, running.slot))


def plan_runs(wanted: DataBlocks, held: DataBlocks | None) -> list[Run]:
    """How each block of the new image is come by, in the order of the new image."""
    if held is None:
        return [Run(0, len(wanted), None)]
    places = {digest: index for index, digest in enumerate(held)}
    runs: list[Run] = []
    first, count, source = 0, 0, None
    for index, digest in enumerate(wanted):
        # First the block after the last one: among equal blocks (zeros) it is the one that keeps a run together.
        following = None if source is None or not count else source + count
        if following is not None and held.leaves[following * DIGEST_SIZE : (following + 1) * DIGEST_SIZE] == digest:
            place: int | None = following
        else:
            place = places.get(digest)
        goes_on = place is None if source is None else place == following and count < LONGEST_COPY
        if count and goes_on:
            count += 1
            continue
        if count:
            runs.append(Run(first, count, source))
        first, count, source = index, 1, place
    runs.append(Run(first, count, source))
    return list(_joined(runs))


def _joined(runs: Sequence[Run]) -> Iterator[Run]:
    """The same blocks, with short copies between fetches fetched along, and neighbouring fetches made one."""
    pending: Run | None = None  # A fetch that may still grow.
    copies: list[Run] = []  # Short copies after it, not decided yet.
    for run in runs:
        if pending is None:
            if run.source is None:
                pending = run
            else:
                yield run
        elif run.source is None:
            pending = Run(pending.first, run.first + run.count - pending.first, None)
            copies = []
        elif sum(copy.count for copy in copies) + run.count < SHORTEST_COPY:
            copies.append(run)
        else:
            yield pending
            yield from copies
            yield run
            pending, copies = None, []
    if pending is not None:
        yield pending
        yield from copies
