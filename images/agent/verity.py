"""dm-verity's on-disk format, in Python: read the superblock, build the hash tree, check blocks against a root hash.

The format is the kernel's (Documentation/admin-guide/device-mapper/verity.rst) as `veritysetup format` writes it. The
rules of this module:

1. Only the shape that sealwave images have is accepted: format version 1, SHA-256, 4096-byte data and hash blocks and
   an empty salt. An empty salt makes equal blocks have equal hashes in every image, which is what deltas live on.
2. The hash partition is: superblock in block 0, then the levels of the tree, the top level first, level 0 (the hashes
   of the data blocks) last. The root hash is the SHA-256 of the single block of the top level.
3. A hash block holds 128 digests of 32 bytes and is padded with zeros to 4096 bytes.
4. A data block is trusted only after the digests above it were traced to the root hash. `read_tree` does that for the
   whole tree at once; `DataBlocks.check` then compares single data blocks.

No files and no clock here: functions take bytes and iterables of bytes. Standard library only, because the node's agent
carries this module.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

BLOCK_SIZE: Final = 4096
"""Bytes of a data block and of a hash block."""

DIGEST_SIZE: Final = 32
"""Bytes of a SHA-256 digest."""

DIGESTS_PER_BLOCK: Final = BLOCK_SIZE // DIGEST_SIZE
"""Digests that one hash block holds (128)."""

MAX_DATA_BLOCKS: Final = 1 << 24
"""Upper limit for a root file system, in blocks (64 GiB): a superblock that claims more is spoiled or hostile."""

_SIGNATURE: Final = b"verity\0\0"
_SUPERBLOCK: Final = struct.Struct("<8sII16s32sIIQH6x256s168x")


class VerityError(ValueError):
    """A superblock, a hash tree or a data block is not what the root hash says.

    Attributes:
        what: the part that is wrong: `superblock`, `tree` or `data`.
        block: index of the wrong block within that part, or None when the part as a whole is wrong.
    """

    def __init__(self, what: str, reason: str, *, block: int | None = None) -> None:
        self.what = what
        self.block = block
        place = what if block is None else f"{what} block {block}"
        super().__init__(f"dm-verity {place}: {reason}")


@dataclass(frozen=True)
class Superblock:
    """The facts of a verity superblock that are not fixed by rule 1."""

    uuid: str
    data_blocks: int

    def to_bytes(self) -> bytes:
        """Return the 512 bytes of the superblock padded to one block."""
        packed = _SUPERBLOCK.pack(
            _SIGNATURE,
            1,
            1,
            uuid.UUID(self.uuid).bytes,
            b"sha256".ljust(32, b"\0"),
            BLOCK_SIZE,
            BLOCK_SIZE,
            self.data_blocks,
            0,
            b"",
        )
        return packed.ljust(BLOCK_SIZE, b"\0")


def parse_superblock(block: bytes) -> Superblock:
    """Read the superblock at the start of a hash partition.

    Args:
        block: at least the first 512 bytes of the partition.

    Raises:
        VerityError: the bytes are no superblock, or one whose parameters rule 1 forbids.
    """
    if len(block) < _SUPERBLOCK.size:
        raise VerityError("superblock", f"{len(block)} bytes are too few")
    signature, version, hash_type, raw_uuid, algorithm, data_size, hash_size, data_blocks, salt_size, _salt = (
        _SUPERBLOCK.unpack_from(block)
    )
    if signature != _SIGNATURE:
        raise VerityError("superblock", "the signature is missing")
    if (version, hash_type) != (1, 1):
        raise VerityError("superblock", f"version {version} with hash type {hash_type} is not supported")
    if algorithm.rstrip(b"\0") != b"sha256":
        raise VerityError("superblock", "the hash algorithm is not sha256")
    if (data_size, hash_size) != (BLOCK_SIZE, BLOCK_SIZE):
        raise VerityError("superblock", f"block sizes {data_size} and {hash_size} are not {BLOCK_SIZE}")
    if salt_size != 0:
        raise VerityError("superblock", "the salt is not empty")
    if not 0 < data_blocks <= MAX_DATA_BLOCKS:
        raise VerityError("superblock", f"{data_blocks} data blocks are out of range")
    return Superblock(uuid=str(uuid.UUID(bytes=raw_uuid)), data_blocks=data_blocks)


def level_sizes(data_blocks: int) -> tuple[int, ...]:
    """Return the number of hash blocks per level, level 0 (nearest to the data) first, the top level (1 block) last.

    A single data block has no level at all: its digest is the root hash.
    """
    if not 0 < data_blocks <= MAX_DATA_BLOCKS:
        raise VerityError("superblock", f"{data_blocks} data blocks are out of range")
    sizes: list[int] = []
    digests = data_blocks
    while digests > 1:
        digests = -(-digests // DIGESTS_PER_BLOCK)
        sizes.append(digests)
    return tuple(sizes)


def hash_blocks(data_blocks: int) -> int:
    """Return the blocks of the whole hash partition: the superblock and every level."""
    return 1 + sum(level_sizes(data_blocks))


def block_digest(block: bytes | memoryview) -> bytes:
    """Return the digest of one block as dm-verity computes it with an empty salt."""
    return hashlib.sha256(block).digest()


@dataclass(frozen=True)
class DataBlocks:
    """Trusted digests of the data blocks, traced to a root hash (rule 4)."""

    root_hash: str
    leaves: bytes

    def __len__(self) -> int:
        return len(self.leaves) // DIGEST_SIZE

    def __getitem__(self, index: int) -> bytes:
        """Return the digest of data block `index`."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.leaves[index * DIGEST_SIZE : (index + 1) * DIGEST_SIZE]

    def __iter__(self) -> Iterator[bytes]:
        return (self.leaves[at : at + DIGEST_SIZE] for at in range(0, len(self.leaves), DIGEST_SIZE))

    def holds(self, index: int, block: bytes | memoryview) -> bool:
        """Say whether `block` is data block `index`; the non-raising twin of `check`."""
        return len(block) == BLOCK_SIZE and block_digest(block) == self[index]

    def check(self, index: int, block: bytes | memoryview) -> None:
        """Return when `block` is data block `index`.

        Raises:
            VerityError: it is another block, or has another size.
        """
        if len(block) != BLOCK_SIZE:
            raise VerityError("data", f"it has {len(block)} bytes and not {BLOCK_SIZE}", block=index)
        if block_digest(block) != self[index]:
            raise VerityError("data", "its SHA-256 is not the one that the root hash vouches for", block=index)

    def check_run(self, first: int, blocks: bytes | memoryview) -> None:
        """Check consecutive blocks that start at index `first`; the length must be whole blocks.

        Raises:
            VerityError: one of them is wrong (`block` names the first such), or the run reaches past the last block.
        """
        view = memoryview(blocks)
        if len(view) % BLOCK_SIZE:
            raise VerityError("data", f"a run of {len(view)} bytes is not whole blocks", block=first)
        count = len(view) // BLOCK_SIZE
        if first < 0 or first + count > len(self):
            raise VerityError("data", f"a run of {count} blocks reaches past block {len(self) - 1}", block=first)
        # One comparison per run: an emulated machine spends as long on a call per block as on the hashing itself.
        found = b"".join([block_digest(view[at : at + BLOCK_SIZE]) for at in range(0, len(view), BLOCK_SIZE)])
        if found == self.leaves[first * DIGEST_SIZE : (first + count) * DIGEST_SIZE]:
            return
        for offset in range(count):
            self.check(first + offset, view[offset * BLOCK_SIZE : (offset + 1) * BLOCK_SIZE])


def read_tree(tree: bytes | memoryview, root_hash: str) -> tuple[Superblock, DataBlocks]:
    """Verify a whole hash partition against a trusted root hash.

    Every byte up to the end of the tree is accounted for: the superblock's parameters by rule 1, the levels by their
    digests, and the padding of hash blocks, which lies inside hashed blocks. The UUID in the superblock is not covered
    by the root hash: a caller that needs the file to be equal byte by byte compares its SHA-256 with the manifest's.

    Args:
        tree: the bytes of the hash partition; bytes after the tree are ignored (partitions are larger than trees).
        root_hash: 64 hex digits from a signed manifest or command line.

    Raises:
        VerityError: the tree is cut, spoiled, or belongs to another root hash.
    """
    view = memoryview(tree)
    superblock = parse_superblock(bytes(view[:BLOCK_SIZE]))
    sizes = level_sizes(superblock.data_blocks)
    if len(view) < (1 + sum(sizes)) * BLOCK_SIZE:
        raise VerityError("tree", f"{len(view)} bytes are too few for {superblock.data_blocks} data blocks")
    expected = _parse_root_hash(root_hash)  # Digests of the level below, which is the top level at first.
    at = 1
    for blocks in reversed(sizes):
        level = view[at * BLOCK_SIZE : (at + blocks) * BLOCK_SIZE]
        for index in range(blocks):
            digest = block_digest(level[index * BLOCK_SIZE : (index + 1) * BLOCK_SIZE])
            if digest != expected[index * DIGEST_SIZE : (index + 1) * DIGEST_SIZE]:
                raise VerityError("tree", "it does not lead to the root hash", block=at + index)
        expected = bytes(level)
        at += blocks
    return superblock, DataBlocks(root_hash=root_hash.lower(), leaves=expected[: superblock.data_blocks * DIGEST_SIZE])


def _parse_root_hash(root_hash: str) -> bytes:
    try:
        digest = bytes.fromhex(root_hash)
    except ValueError as error:
        raise VerityError("tree", f"{root_hash!r} is not a root hash of 64 hex digits") from error
    if len(digest) != DIGEST_SIZE:
        raise VerityError("tree", f"{root_hash!r} is not a root hash of 64 hex digits")
    return digest


@dataclass(frozen=True)
class Tree:
    """A hash tree built from data: its root hash and the bytes of the hash partition, superblock included."""

    root_hash: str
    superblock: Superblock
    partition: bytes


def build_tree(blocks: Iterable[bytes | memoryview], *, uuid: str) -> Tree:
    """Hash data blocks into a tree, equal byte by byte to `veritysetup format --salt=- --uuid UUID`.

    Args:
        blocks: every data block in order, each of 4096 bytes; at least one.
        uuid: the superblock's UUID, fixed so that two builds are equal.

    Raises:
        VerityError: a block has another size, or there is none.
    """
    digests = bytearray()
    for index, block in enumerate(blocks):
        if len(block) != BLOCK_SIZE:
            raise VerityError("data", f"it has {len(block)} bytes and not {BLOCK_SIZE}", block=index)
        digests += block_digest(block)
    leaves = len(digests) // DIGEST_SIZE
    superblock = Superblock(uuid=uuid, data_blocks=leaves)
    levels: list[bytes] = []
    for size in level_sizes(leaves):
        level = bytes(digests).ljust(size * BLOCK_SIZE, b"\0")
        levels.append(level)
        digests = bytearray()
        for at in range(0, len(level), BLOCK_SIZE):
            digests += block_digest(level[at : at + BLOCK_SIZE])
    partition = superblock.to_bytes() + b"".join(reversed(levels))
    return Tree(root_hash=bytes(digests).hex(), superblock=superblock, partition=partition)
