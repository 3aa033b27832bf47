from __future__ import annotations

import hashlib
import lzma
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sealwave.images import disk, manifest, uki
from sealwave.images.agent import gpt
from sealwave.images.agent import verity as trees
from sealwave.images.erofsread import ErofsError, Reader, nodes
from sealwave.images.errors import CheckFailed
from sealwave.images.seal import RELEASED
from sealwave.images.verify import verify
from sealwave.images.verity import VERITY_UUID
from sealwave.signing import authenticode, dsse
from sealwave.signing.keys import LabKeys
from tests.images.test_uki import make_stub

# Made by mkfs.erofs 1.8.6 with the options of `erofs.freeze`, from a small tree: good, and one that no image may be.
ASSETS = Path(__file__).parent / "assets"
LAYOUT = disk.Layout(esp=34 * disk.MIB, root=2 * disk.MIB, verity=disk.MIB, data=disk.MIB)


def asset(name: str) -> bytes:
    return lzma.decompress((ASSETS / f"{name}.erofs.xz").read_bytes())


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sign(keys: LabKeys, folder: Path, image: manifest.Image) -> None:
    document = manifest.encode(image)
    (folder / "image.json").write_bytes(document)
    envelope = dsse.sign(document, payload_type=manifest.PAYLOAD_TYPE, signer=keys.release.signer)
    (folder / "image.json.dsse").write_bytes(envelope)


def make_image(folder: Path, keys: LabKeys, *, root: bytes, command: str | None = None) -> manifest.Image:
    """A whole image folder, as small as it gets; `command` replaces the kernel's command line."""
    blocks = [root[at : at + 4096] for at in range(0, len(root), 4096)]
    tree = trees.build_tree(blocks, uuid=VERITY_UUID)
    parts = uki.sections(
        kernel=b"K" * 5000,
        initrd=b"I" * 100,
        os_release=b"ID=test\n",
        release="6.12",
        command=command or uki.command_line(tree.root_hash),
    )
    key = keys.database
    signed = authenticode.sign_pe(uki.assemble(make_stub(), parts), certificate=key.certificate, key=key.key)
    loader = authenticode.sign_pe(make_stub(), certificate=key.certificate, key=key.key)
    contents = {"root.erofs": root, "root.verity": tree.partition, "uki.efi": signed, "loader.efi": loader}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    image = manifest.Image(
        name="small",
        version="1.0.0",
        arch="amd64",
        release_number=1,
        floor=1,
        compat_class="cpu-1",
        keep=("identity",),
        source_date_epoch=1_700_000_000,
        root_hash=tree.root_hash,
        verity=manifest.Verity(VERITY_UUID, len(blocks), len(tree.partition) // 4096),
        kernel_abi="6.12",
        kernel_version="6.12-1",
        kubelet_version="v1.37.2",
        lock=f"sha256:{'0' * 64}",
        trust_release=f"sha256:{sha256(b'release')}",
        trust_config=f"sha256:{sha256(b'config')}",
        trust_secure_boot=f"sha256:{sha256(key.certificate_pem)}",
        files=tuple(manifest.ImageFile(name, len(contents[name]), sha256(contents[name])) for name in RELEASED),
    )
    sign(keys, folder, image)
    return image


def write_disk(folder: Path, root_hash: str) -> None:
    table = disk.table(LAYOUT, root_hash)
    with (folder / "disk.raw").open("wb") as file:
        file.truncate(table.sectors * gpt.SECTOR)
        file.write(table.head())
        for name, source in (("root-a", "root.erofs"), ("verity-a", "root.verity")):
            file.seek(table.named(name).offset)
            file.write((folder / source).read_bytes())
        file.seek(table.sectors * gpt.SECTOR - gpt.TAIL_BYTES)
        file.write(table.tail())


def check(folder: Path, keys: LabKeys, told: list[str] | None = None) -> manifest.Image:
    report: Callable[[str], None] = (lambda _: None) if told is None else told.append
    return verify(folder, release=[keys.release.public_pem], secure_boot=[keys.database.certificate_pem], report=report)


def test_a_good_image_passes_every_check(tmp_path: Path, lab_keys: LabKeys) -> None:
    image = make_image(tmp_path, lab_keys, root=asset("good"))
    write_disk(tmp_path, image.root_hash)
    told: list[str] = []
    assert check(tmp_path, lab_keys, told) == image
    assert len(told) == 6


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("name", "at", "reason"),
    [
        ("image.json", 30, "another image.json"),
        ("image.json.dsse", 200, "not to be used"),
        ("root.erofs", 8192, "root.erofs hashes to"),
        ("root.verity", 4100, "root.verity hashes to"),
        ("uki.efi", 5000, "uki.efi hashes to"),
        ("loader.efi", 700, "loader.efi hashes to"),
        ("disk.raw", 512 + 60, "partition table is spoiled"),
        ("disk.raw", 35 * disk.MIB + 17, "partition root-a"),
    ],
)
def test_a_flipped_byte_is_found(tmp_path: Path, lab_keys: LabKeys, name: str, at: int, reason: str) -> None:
    image = make_image(tmp_path, lab_keys, root=asset("good"))
    write_disk(tmp_path, image.root_hash)
    flip(tmp_path / name, at)
    with pytest.raises(CheckFailed, match=reason):
        check(tmp_path, lab_keys)


@pytest.mark.parametrize(
    ("name", "reason"), [("root.verity", "does not match its root hash"), ("uki.efi", "not to be trusted")]
)
def test_a_spoiled_file_is_found_even_when_the_manifest_agrees(
    tmp_path: Path, lab_keys: LabKeys, name: str, reason: str
) -> None:
    image = make_image(tmp_path, lab_keys, root=asset("good"))
    flip(tmp_path / name, 4100)
    content = (tmp_path / name).read_bytes()
    files = tuple(
        manifest.ImageFile(name, len(content), sha256(content)) if entry.path == name else entry
        for entry in image.files
    )
    sign(lab_keys, tmp_path, replace(image, files=files))
    with pytest.raises(CheckFailed, match=reason):
        check(tmp_path, lab_keys)


def test_a_shell_a_key_and_a_set_user_id_file_are_named(tmp_path: Path, lab_keys: LabKeys) -> None:
    make_image(tmp_path, lab_keys, root=asset("shell-key-setuid"))
    with pytest.raises(CheckFailed) as caught:
        check(tmp_path, lab_keys)
    for fault in ("usr/bin/sh", "etc/server.key (a private key)", "usr/bin/tool (set-user-id)"):
        assert fault in str(caught.value)


def test_a_kernel_that_asks_for_another_root_is_refused(tmp_path: Path, lab_keys: LabKeys) -> None:
    make_image(tmp_path, lab_keys, root=asset("good"), command=f"roothash={'0' * 64} quiet")
    with pytest.raises(CheckFailed, match="asks for another root"):
        check(tmp_path, lab_keys)


def test_other_keys_than_the_trusted_ones_are_refused(tmp_path: Path, lab_keys: LabKeys) -> None:
    make_image(tmp_path, lab_keys, root=asset("good"))
    with pytest.raises(CheckFailed, match="no trusted key signed it"):
        verify(tmp_path, release=[lab_keys.config.public_pem], secure_boot=[lab_keys.database.certificate_pem])
    with pytest.raises(CheckFailed, match="another Secure Boot key"):
        verify(tmp_path, release=[lab_keys.release.public_pem], secure_boot=[lab_keys.exchange.certificate_pem])


def test_a_missing_file_is_one_sentence(tmp_path: Path, lab_keys: LabKeys) -> None:
    make_image(tmp_path, lab_keys, root=asset("good"))
    (tmp_path / "uki.efi").unlink()
    with pytest.raises(CheckFailed, match=r"uki\.efi cannot be read"):
        check(tmp_path, lab_keys)


def test_the_reader_sees_what_mkfs_wrote(tmp_path: Path) -> None:
    path = tmp_path / "good.erofs"
    path.write_bytes(asset("good"))
    found = {node.path: node for node in nodes(path)}
    assert len([name for name in found if name.startswith("many/")]) == 300
    assert "boot/vmlinuz" not in found
    with path.open("rb") as file:
        reader = Reader(file)
        assert reader.content(found["usr/bin/tool"]) == b"tool" * 3000
        assert reader.content(found["usr/bin/alias"]) == b"tool"
        assert reader.content(found["etc/machine-id"]) == b""
        assert reader.content(found["many/file-with-a-long-name-0299"]) == b"299"
    tool = found["usr/bin/tool"]
    assert path.read_bytes()[tool.offset : tool.offset + 8] == b"tooltool"
    assert tool.mode & 0o7777 == 0o755


@pytest.mark.parametrize("content", [b"", bytes(8192), asset("good")[:8192]])
def test_what_is_no_file_system_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(ErofsError):
        nodes(path)
