"""A container image with one static program, as an OCI archive, equal byte for byte each time; pure.

The layout is that of the OCI Image Format Specification 1.1 in a tar file: `oci-layout`, `index.json` and `blobs/`.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import Any

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


def oci_archive(program: bytes, *, path: str, name: str, architecture: str = "amd64") -> bytes:
    """An archive of an image called `name` that holds `program` at `path` and runs it as an unprivileged user."""
    layer = _tar({path.lstrip("/"): (program, 0o755)})
    config = _json(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"User": "65535:65535", "Entrypoint": [path]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(config, _CONFIG),
            "layers": [_descriptor(layer, _LAYER)],
        }
    )
    entry = _descriptor(manifest, _MANIFEST)
    # containerd takes the whole reference from its own annotation, other readers take the specification's.
    entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    entry["platform"] = {"architecture": architecture, "os": "linux"}
    index = _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [entry]})
    files = {"oci-layout": (_json({"imageLayoutVersion": "1.0.0"}), 0o644), "index.json": (index, 0o644)}
    for blob in (layer, config, manifest):
        files[f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}"] = (blob, 0o644)
    return _tar(files)


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            content, mode = files[name]
            entry = tarfile.TarInfo(name)  # owner root and time 0, which TarInfo starts with
            entry.size = len(content)
            entry.mode = mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _descriptor(blob: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
