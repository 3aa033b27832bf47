"""dm-verity at build time: veritysetup writes the hash tree, and our own reader must agree with every block of it.

Two programs that were written apart agree on the root hash, so neither a broken disk nor a bug in one of them gets into
a signed command line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from sealwave.images.agent import verity
from sealwave.images.errors import CheckFailed
from sealwave.images.sandbox import Sandbox

VERITY_UUID: Final = "f2b8e1d4-6a53-4c0e-9d71-5ea1a4e00002"
"""Fixed, like the empty salt: a random one would make two builds differ."""

_CHUNK: Final = 1024 * verity.BLOCK_SIZE


def seal(root: Path, output: Path, *, tools: Sandbox) -> tuple[str, verity.Superblock]:
    """Write the hash tree of `root` to `output`; return the root hash and the tree's facts.

    Raises:
        CheckFailed: veritysetup's tree is not what our own reader expects.
    """
    output.unlink(missing_ok=True)
    output.touch()
    printed = tools.run(
        ["veritysetup", "format", "--salt=-", f"--uuid={VERITY_UUID}", "--hash=sha256", root, output],
        read=[root],
        write=[output.parent],
    ).decode()
    match = re.search(r"^Root hash:\s+([0-9a-f]{64})$", printed, re.MULTILINE)
    if match is None:
        raise CheckFailed("veritysetup printed no root hash; check the version of cryptsetup-bin in the tools tree")
    root_hash = match.group(1)
    return root_hash, check(root, output, root_hash)


def check(root: Path, tree: Path, root_hash: str) -> verity.Superblock:
    """Check every block of a root file system against its hash tree and root hash.

    Raises:
        CheckFailed: a block is wrong, or the sizes do not agree.
    """
    try:
        superblock, blocks = verity.read_tree(tree.read_bytes(), root_hash)
        if root.stat().st_size != superblock.data_blocks * verity.BLOCK_SIZE:
            raise CheckFailed(f"{root} and its hash tree are of different sizes; build the image again")
        with root.open("rb") as file:
            index = 0
            while chunk := file.read(_CHUNK):
                blocks.check_run(index, chunk)
                index += len(chunk) // verity.BLOCK_SIZE
    except verity.VerityError as error:
        raise CheckFailed(f"{root} does not match its root hash: {error}; fetch or build it again") from error
    return superblock
