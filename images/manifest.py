"""The image manifest, `image.json`: what a sealed image is, in one file that its digest and its signature cover.

Rules:
1. The digest of an image is the SHA-256 of the bytes of its manifest, so these are kept and never written again from
   the parsed value. `encode` is for the build alone.
2. A manifest satisfies `schema/image.schema.json`; an unknown key is an error.
3. Nothing here says whether a manifest is to be trusted: whoever reads one verifies its signature first.

Pure, and part of the node's archive: standard library and `jsonschema` only.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator

__all__ = ["PAYLOAD_TYPE", "Image", "ImageFile", "ManifestError", "Verity", "digest", "encode", "parse"]

PAYLOAD_TYPE = "application/vnd.sealwave.image+json"
API_VERSION = "sealwave.dev/v1"


class ManifestError(ValueError):
    """The bytes are no image manifest; the message names the place."""


@dataclass(frozen=True)
class ImageFile:
    """A file of the image folder: its name there, size in bytes, SHA-256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Verity:
    """The shape of the hash tree; a block has 4096 bytes and the salt is empty."""

    uuid: str
    data_blocks: int
    hash_blocks: int


@dataclass(frozen=True)
class Image:
    """A parsed manifest."""

    name: str
    version: str
    arch: str
    release_number: int
    floor: int
    compat_class: str
    keep: tuple[str, ...]
    source_date_epoch: int
    root_hash: str
    verity: Verity
    kernel_abi: str
    kernel_version: str
    kubelet_version: str
    lock: str
    trust_release: str
    trust_config: str
    trust_secure_boot: str
    files: tuple[ImageFile, ...]

    def file(self, path: str) -> ImageFile:
        """The named file; raises ManifestError when the manifest does not list it."""
        for entry in self.files:
            if entry.path == path:
                return entry
        raise ManifestError(f"the manifest does not list {path}")


def digest(document: bytes) -> str:
    """The digest of the image that these bytes of `image.json` describe."""
    return "sha256:" + hashlib.sha256(document).hexdigest()


def parse(document: bytes) -> Image:
    """The manifest in these bytes of `image.json`; raises ManifestError."""
    try:
        content: Any = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise ManifestError("image.json is not JSON") from error
    problem = next(iter(_validator().iter_errors(content)), None)
    if problem is not None:
        place = "/".join(str(part) for part in problem.absolute_path) or "its top level"
        raise ManifestError(f"image.json, {place}: {problem.message[:200]}")
    names = [entry["path"] for entry in content["files"]]
    if len(set(names)) != len(names):
        raise ManifestError("image.json lists a file twice")
    verity = content["verity"]
    return Image(
        name=content["name"],
        version=content["version"],
        arch=content["arch"],
        release_number=content["releaseNumber"],
        floor=content["floor"],
        compat_class=content["compatClass"],
        keep=tuple(content["keep"]),
        source_date_epoch=content["sourceDateEpoch"],
        root_hash=content["rootHash"],
        verity=Verity(verity["uuid"], verity["dataBlocks"], verity["hashBlocks"]),
        kernel_abi=content["kernel"]["abi"],
        kernel_version=content["kernel"]["version"],
        kubelet_version=content["kubelet"]["version"],
        lock=content["lock"],
        trust_release=content["trust"]["release"],
        trust_config=content["trust"]["config"],
        trust_secure_boot=content["trust"]["secureBoot"],
        files=tuple(ImageFile(entry["path"], entry["size"], entry["sha256"]) for entry in content["files"]),
    )


def encode(image: Image) -> bytes:
    """The bytes of `image.json` for a new image: equal values give equal bytes."""
    content = {
        "apiVersion": API_VERSION,
        "kind": "Image",
        "name": image.name,
        "version": image.version,
        "arch": image.arch,
        "releaseNumber": image.release_number,
        "floor": image.floor,
        "compatClass": image.compat_class,
        "keep": list(image.keep),
        "sourceDateEpoch": image.source_date_epoch,
        "rootHash": image.root_hash,
        "verity": {
            "uuid": image.verity.uuid,
            "dataBlocks": image.verity.data_blocks,
            "hashBlocks": image.verity.hash_blocks,
            "blockSize": 4096,
            "salt": "",
        },
        "kernel": {"abi": image.kernel_abi, "version": image.kernel_version},
        "gpu": None,
        "kubelet": {"version": image.kubelet_version},
        "lock": image.lock,
        "trust": {
            "release": image.trust_release,
            "config": image.trust_config,
            "secureBoot": image.trust_secure_boot,
        },
        "files": [{"path": entry.path, "size": entry.size, "sha256": entry.sha256} for entry in image.files],
    }
    return json.dumps(content, indent=2, sort_keys=True).encode() + b"\n"


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(files("sealwave.images").joinpath("schema/image.schema.json").read_text()))
