"""A signed image manifest, reduced to what the node needs of it.

Not checked here: whether it is the image that was asked for (the caller compares the digest).
"""

from __future__ import annotations

from dataclasses import dataclass

from sealwave.images import manifest
from sealwave.images.agent.slots import StoredImage
from sealwave.images.manifest import ImageFile
from sealwave.signing import dsse
from sealwave.signing.errors import UntrustedSignature

__all__ = ["MANIFEST_LIMIT", "Release", "read_manifest"]

# Bytes of image.json, and of its envelope; a manifest has a few KiB.
MANIFEST_LIMIT = 1024 * 1024


@dataclass(frozen=True)
class Release:
    """A verified manifest, with the signed bytes beside what they say."""

    document: bytes
    envelope: bytes
    stored: StoredImage
    arch: str
    data_blocks: int
    root: ImageFile
    verity: ImageFile
    uki: ImageFile


def read_manifest(document: bytes, envelope: bytes, *, key: bytes) -> Release:
    """The image that `document` (image.json) describes, if `envelope` holds the key's signature over the same bytes.

    Raises SigningError when the signature does not hold, ValueError when the manifest is not one.
    """
    if dsse.verify(envelope, payload_type=manifest.PAYLOAD_TYPE, keys=[key]) != document:
        raise UntrustedSignature("image.json", "the signature beside it belongs to other content")
    image = manifest.parse(document)
    root, verity, uki = (image.file(name) for name in ("root.erofs", "root.verity", "uki.efi"))
    stored = StoredImage(
        digest=manifest.digest(document),
        name=image.name,
        version=image.version,
        release_number=image.release_number,
        root_hash=image.root_hash,
        keep=tuple(image.keep),
    )
    return Release(
        document=document,
        envelope=envelope,
        stored=stored,
        arch=image.arch,
        data_blocks=image.verity.data_blocks,
        root=root,
        verity=verity,
        uki=uki,
    )
