"""Tiny images with real signatures, real hash trees and real digests, and the trust that goes with them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import CryptoSigner

from sealwave.images import manifest
from sealwave.images.agent.verity import BLOCK_SIZE, build_tree, hash_blocks
from sealwave.images.manifest import Image, ImageFile, Verity
from sealwave.signing import dsse
from sealwave.signing.certs import Authority, Issued, issue_client, make_authority

VERITY_UUID = "5ea1bea7-0000-4000-8000-000000000001"
ZERO_DIGEST = "sha256:" + "0" * 64


@dataclass(frozen=True)
class SigningPair:
    """An ed25519 key that signs documents."""

    private: Ed25519PrivateKey

    @classmethod
    def make(cls) -> SigningPair:
        return cls(Ed25519PrivateKey.generate())

    @property
    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, payload: bytes, payload_type: str) -> bytes:
        signer = CryptoSigner(self.private, dsse.verification_key(self.public_pem))
        return dsse.sign(payload, payload_type=payload_type, signer=signer)


@dataclass(frozen=True)
class Trust:
    """Every key of a test fleet: make one per test session, it costs a few milliseconds."""

    machine_ca: Authority
    release: SigningPair
    config: SigningPair

    @classmethod
    def make(cls) -> Trust:
        return cls(make_authority("machines", now=datetime.now(UTC)), SigningPair.make(), SigningPair.make())

    def client(self, role: str, name: str = "driver") -> Issued:
        """A client certificate for the machine API with this role."""
        return issue_client(self.machine_ca, common_name=name, organizations=[role], now=datetime.now(UTC))


@dataclass(frozen=True)
class FakeImage:
    """An image folder on disk."""

    folder: Path
    digest: str
    root_hash: str
    version: str


def make_image(
    folder: Path,
    *,
    version: str,
    release: SigningPair,
    release_number: int = 1,
    blocks: int = 300,
    name: str = "node",
    like: str | None = None,
    changed: Collection[int] = (),
) -> FakeImage:
    """Write an image folder whose root has `blocks` blocks of 4 KiB.

    Another version has other content, unless it is `like` an earlier one: then the `changed` blocks alone are its own.
    """
    folder.mkdir(parents=True)
    owners = [version if like is None or index in changed else like for index in range(blocks)]
    pages = [hashlib.sha256(f"{name} {owner} {at}".encode()).digest() * 128 for at, owner in enumerate(owners)]
    tree = build_tree(pages, uuid=VERITY_UUID)
    contents = {
        "root.erofs": b"".join(pages),
        "root.verity": tree.partition,
        "uki.efi": b"MZ" + hashlib.sha256(f"uki {version}".encode()).digest() * 300,
        "loader.efi": b"MZ loader",
    }
    for path, content in contents.items():
        (folder / path).write_bytes(content)
    image = Image(
        name=name,
        version=version,
        arch="amd64",
        release_number=release_number,
        floor=0,
        compat_class="none",
        keep=("identity", "agent"),
        source_date_epoch=1,
        root_hash=tree.root_hash,
        verity=Verity(VERITY_UUID, blocks, hash_blocks(blocks)),
        kernel_abi="6.12",
        kernel_version="6.12",
        kubelet_version="v1.37.2",
        lock=ZERO_DIGEST,
        trust_release=ZERO_DIGEST,
        trust_config=ZERO_DIGEST,
        trust_secure_boot=ZERO_DIGEST,
        files=tuple(
            ImageFile(path, len(content), hashlib.sha256(content).hexdigest()) for path, content in contents.items()
        ),
    )
    document = manifest.encode(image)
    assert len(contents["root.erofs"]) == blocks * BLOCK_SIZE
    (folder / "image.json").write_bytes(document)
    (folder / "image.json.dsse").write_bytes(release.sign(document, manifest.PAYLOAD_TYPE))
    return FakeImage(folder, manifest.digest(document), tree.root_hash, version)
