"""The identity of a folder of Go sources."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sealwave.images.errors import LockError


def source_digest(folder: Path) -> str:
    """One hash over go.mod, go.sum and the Go files of a source folder, by name and content (`sha256:<hex>`)."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and (path.suffix == ".go" or path.name in ("go.mod", "go.sum"))
    )
    if folder / "go.mod" not in files:
        raise LockError(f"the Go source folder {folder} holds no go.mod; correct `source` under `goParts` in the spec")
    total = hashlib.sha256()
    for path in files:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(folder)} {content}\n".encode())
    return f"sha256:{total.hexdigest()}"
