"""The root file system: a tree frozen into EROFS, equal byte by byte for equal trees.

`-Enoinline_data` keeps the ends of files in blocks of their own. With EROFS's default they are packed behind inodes,
and one changed file shifts thousands of blocks (measured: 4.6 % of the blocks instead of 0.2 % for one file in /etc).
No compression: a compressed block is shared with no other image, and lz4hc costs 84 s instead of 3 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sealwave.images.agent.verity import BLOCK_SIZE
from sealwave.images.errors import CheckFailed
from sealwave.images.sandbox import Sandbox

FILE_SYSTEM_UUID: Final = "f2b8e1d4-6a53-4c0e-9d71-5ea1a4e00001"
"""The same in every image: what tells images apart is their root hash."""


class RootTooLarge(CheckFailed):
    """The frozen root does not fit into its partition."""

    def __init__(self, *, size: int, slot: int, what: str = "root") -> None:
        super().__init__(
            f"the {what} needs {_mib(size)} MiB and its slot has {_mib(slot)} MiB; raise disk.{what}MiB in the spec "
            "or remove packages"
        )
        self.size = size
        self.slot = slot


def freeze(tree: Path, output: Path, *, epoch: int, tools: Sandbox, leave_out: Sequence[str] = ()) -> int:
    """Write `tree` as an EROFS file and return its size in bytes, a multiple of 4096.

    Args:
        tree: the finished root tree.
        output: the file to write; its folder must exist.
        epoch: SOURCE_DATE_EPOCH, the time stamp of every file.
        tools: runs mkfs.erofs.
        leave_out: regular expressions of paths (relative to the tree) that are not taken along.
    """
    arguments: list[str | Path] = ["mkfs.erofs", "--quiet", "-Enoinline_data", f"-T{epoch}", f"-U{FILE_SYSTEM_UUID}"]
    arguments += [f"--exclude-regex={pattern}" for pattern in leave_out]
    output.unlink(missing_ok=True)
    output.touch()
    tools.run([*arguments, output, tree], read=[tree], write=[output.parent])
    size = output.stat().st_size
    if size == 0 or size % BLOCK_SIZE:
        raise CheckFailed(f"mkfs.erofs wrote {size} bytes, which is not whole blocks; check the version of erofs-utils")
    return size


def _mib(size: int) -> int:
    return -(-size // (1 << 20))
