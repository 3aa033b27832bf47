"""Fetches and verifies the manifest of a released image from its HTTPS folder.

1. Fetch `image.json` and `image.json.dsse`, whole, within limits, over TLS that the given authority vouches for.
2. The bytes of `image.json` have the pinned digest.
3. The release key has signed exactly these bytes as an image manifest.

Not checked here: the image's files. The node verifies each of them before a byte is written.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from sealwave.infra.provider.errors import ReleaseError
from sealwave.signing import dsse

PAYLOAD_TYPE = "application/vnd.sealwave.image+json"
"""What the release key signs."""

MANIFEST_LIMIT_BYTES = 1024 * 1024
"""A manifest lists a handful of files; a longer answer is not one."""

ANSWER_LIMIT_SECONDS = 15.0
"""How long connecting, and each pause between two parts of the answer, may take."""


@dataclass(frozen=True)
class Release:
    """What a verified manifest says."""

    digest: str
    name: str
    version: str
    release_number: int
    """Orders the releases of an image."""
    root_hash: str
    """The dm-verity root hash, in hex."""


def verified_release(source: str, *, digest: str, release_key: bytes, authority: Path) -> Release:
    """Fetch and verify the manifest under `source`.

    Args:
        source: the folder's address, beginning with https://.
        digest: the pinned digest, `sha256:` and 64 hex digits.
        release_key: the release key's public half, PEM.
        authority: the PEM file of the authority that vouches for the image host.

    Raises:
        ReleaseError: when the host does not answer, or the manifest is not the pinned one.
        SigningError: when the release key did not sign it.
    """
    base = source.rstrip("/")
    content = _fetch(f"{base}/image.json", authority)
    found = "sha256:" + hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ReleaseError(
            source, f"its digest is {found} and {digest} is pinned; pin the digest of the release you want"
        )
    envelope = _fetch(f"{base}/image.json.dsse", authority)
    signed = dsse.verify(envelope, payload_type=PAYLOAD_TYPE, keys=[release_key])
    if signed != content:
        raise ReleaseError(
            source, "its signature is over another manifest; publish the release's files again, together"
        )
    return _parse(source, digest, signed)


def _parse(source: str, digest: str, content: bytes) -> Release:
    """Read what the resource gives out from verified bytes."""
    try:
        manifest: dict[str, Any] = json.loads(content)
        return Release(
            digest=digest,
            name=str(manifest["name"]),
            version=str(manifest["version"]),
            release_number=int(manifest["releaseNumber"]),
            root_hash=str(manifest["rootHash"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ReleaseError(source, f"its manifest is signed but cannot be read ({error}); build it again") from error


def _fetch(address: str, authority: Path) -> bytes:
    """Return the file's bytes, at most `MANIFEST_LIMIT_BYTES`."""
    try:
        with requests.get(address, verify=str(authority), timeout=ANSWER_LIMIT_SECONDS, stream=True) as answer:
            if answer.status_code != requests.codes.ok:
                raise ReleaseError(address, f"the host answers {answer.status_code}; check the address")
            content = b""
            for part in answer.iter_content(64 * 1024):
                content += part
                if len(content) > MANIFEST_LIMIT_BYTES:
                    raise ReleaseError(address, f"it is longer than {MANIFEST_LIMIT_BYTES} bytes; check the address")
            return content
    except requests.exceptions.SSLError as error:
        raise ReleaseError(address, f"the host is not vouched for by {authority}; check both") from error
    except (requests.exceptions.RequestException, OSError) as error:
        raise ReleaseError(address, f"the host does not answer ({type(error).__name__}); check that it runs") from error
