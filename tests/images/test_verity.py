from __future__ import annotations

import hashlib

import pytest

from sealwave.images.agent import verity
from sealwave.images.agent.verity import BLOCK_SIZE, VerityError

UUID = "6e3f1c9e-0d55-4d4a-9f2c-0123456789ab"

# Root hash and SHA-256 of the hash partition, as printed and written by veritysetup 2.6.1
# (`veritysetup format --salt=- --uuid UUID DATA HASH`) for the blocks of `data()`.
VERITYSETUP = {
    1: (
        "cad642bfda4d4331c230cbbdb0ade3ea829ca6cb66b5b9f42a0b2718771db4ba",
        "d41c395ba6fb755377cd856dc7e625e0a81efaf5cf59b9f895b35990899cb667",
    ),
    2: (
        "8da2be6c70546d330b70db0304d24808e560986358c15c2130b815aae4e6ab39",
        "bf28332af29f4587db06df2db3dfde8ed5ed8a35737423eb795655284e022794",
    ),
    128: (
        "fc0bc81c5761bba49b07230562f941661f6976bfbdad212d585d689546c8793e",
        "339a0d90deb4fc3e31c409f72b4bb5b4beb6e1c243987793f148eb1fccf76887",
    ),
    129: (
        "15af6b6b1c7ccf9ca4d553ec973ce72e3b9130b42ae3a3634b75eda4d7daa5f1",
        "507011bd4da465435b5d84d339fa134b2340a98eeaf23383da3394b6c472de59",
    ),
    16385: (
        "6d6c5d74706f09251fe8091c49ec45e11bc3ce87c8ddc50a2b35670c7d536d12",
        "27b611572313d200af120849f019662694e9661794b0dc6246819253ef08e553",
    ),
}


def data(blocks: int) -> list[bytes]:
    return [hashlib.sha256(index.to_bytes(8, "little")).digest() * 128 for index in range(blocks)]


@pytest.mark.parametrize("blocks", sorted(VERITYSETUP))
def test_tree_equals_veritysetup(blocks: int) -> None:
    tree = verity.build_tree(data(blocks), uuid=UUID)
    root_hash, partition = VERITYSETUP[blocks]
    assert tree.root_hash == root_hash
    assert hashlib.sha256(tree.partition).hexdigest() == partition
    assert len(tree.partition) == verity.hash_blocks(blocks) * BLOCK_SIZE


@pytest.mark.parametrize("blocks", sorted(VERITYSETUP))
def test_tree_read_back_vouches_for_every_block(blocks: int) -> None:
    content = data(blocks)
    tree = verity.build_tree(content, uuid=UUID)
    superblock, leaves = verity.read_tree(tree.partition + bytes(BLOCK_SIZE), tree.root_hash)
    assert superblock == verity.Superblock(uuid=UUID, data_blocks=blocks)
    assert len(leaves) == blocks
    leaves.check_run(0, b"".join(content))
    assert list(leaves) == [hashlib.sha256(block).digest() for block in content]


def test_a_flipped_byte_anywhere_in_the_tree_is_found() -> None:
    tree = verity.build_tree(data(200), uuid=UUID)
    for block in range(1, len(tree.partition) // BLOCK_SIZE):
        spoiled = bytearray(tree.partition)
        spoiled[block * BLOCK_SIZE + BLOCK_SIZE - 1] ^= 1
        with pytest.raises(VerityError, match="does not lead to the root hash") as caught:
            verity.read_tree(bytes(spoiled), tree.root_hash)
        assert (caught.value.what, caught.value.block) == ("tree", block)


def test_a_wrong_data_block_is_named() -> None:
    content = data(130)
    tree = verity.build_tree(content, uuid=UUID)
    _, leaves = verity.read_tree(tree.partition, tree.root_hash)
    spoiled = bytearray(b"".join(content[3:10]))
    spoiled[2 * BLOCK_SIZE + 17] ^= 0x80
    with pytest.raises(VerityError, match="data block 5") as caught:
        leaves.check_run(3, bytes(spoiled))
    assert caught.value.block == 5
    assert leaves.holds(5, content[5])
    assert not leaves.holds(5, content[6])
    with pytest.raises(VerityError, match="reaches past"):
        leaves.check_run(129, content[129] + content[0])


def spoil(at: int, value: bytes) -> bytes:
    block = bytearray(verity.Superblock(uuid=UUID, data_blocks=7).to_bytes())
    block[at : at + len(value)] = value
    return bytes(block)


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"", "too few"),
        (spoil(0, b"V"), "signature"),
        (spoil(8, b"\x02"), "version"),
        (spoil(12, b"\x00"), "hash type"),
        (spoil(32, b"sha512"), "not sha256"),
        (spoil(64, b"\x00\x02"), "block sizes"),
        (spoil(72, bytes(8)), "out of range"),
        (spoil(72, b"\xff" * 8), "out of range"),
        (spoil(80, b"\x20"), "salt"),
    ],
)
def test_a_superblock_of_another_shape_is_refused(block: bytes, reason: str) -> None:
    with pytest.raises(VerityError, match=reason):
        verity.parse_superblock(block)


def test_a_cut_tree_is_refused() -> None:
    tree = verity.build_tree(data(300), uuid=UUID)
    with pytest.raises(VerityError, match="too few"):
        verity.read_tree(tree.partition[:-BLOCK_SIZE], tree.root_hash)


@pytest.mark.parametrize("root_hash", ["", "zz", "ab" * 31, "ab" * 33])
def test_a_root_hash_that_is_none_is_refused(root_hash: str) -> None:
    tree = verity.build_tree(data(2), uuid=UUID)
    with pytest.raises(VerityError, match="not a root hash"):
        verity.read_tree(tree.partition, root_hash)
