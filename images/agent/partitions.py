"""A slot's PARTUUIDs on a disk: the boot finds root and tree by the halves of the root hash.

The backup table is whole and flushed before the primary is touched (gpt.py, rule 3): after a cut in between one copy is
right. Which of the two the next boot reads does not matter, because the slot has no boot entry yet.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import replace
from pathlib import Path

from sealwave.images.agent import gpt
from sealwave.images.agent.platform import Part
from sealwave.images.agent.slots import Slot

__all__ = ["name_partitions"]


def name_partitions(disk: Path, *, size: int, slot: Slot, root_hash: str) -> None:
    """Change both tables of a disk of `size` bytes; raises OSError, or GptError when neither table can be read."""
    descriptor = os.open(disk, os.O_RDWR | os.O_CLOEXEC)
    try:
        # The image was made for a smaller disk, as it mostly is: the backup belongs to this one's end.
        table = replace(_read(descriptor, size), sectors=size // gpt.SECTOR)
        for part, half in ((Part.ROOT, root_hash[:32]), (Part.VERITY, root_hash[32:])):
            table = table.with_guid(f"{part.value}-{slot.value}", str(uuid.UUID(half)))
        for content, at in ((table.tail(), size - gpt.TAIL_BYTES), (table.head(), 0)):
            os.pwrite(descriptor, content, at)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(descriptor: int, size: int) -> gpt.Table:
    try:
        return gpt.parse_head(os.pread(descriptor, gpt.HEAD_BYTES, 0))
    except gpt.GptError:
        return gpt.parse_tail(os.pread(descriptor, gpt.TAIL_BYTES, size - gpt.TAIL_BYTES))
