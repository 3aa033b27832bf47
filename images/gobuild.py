"""Go programs for an image, built while locking and kept in the store.

The build runs on the host, because it needs the Go toolchain and the module proxy; what came out is pinned by SHA-256
in the lock, and a build of the image only ever takes those bytes from the store. The same inputs are built once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from pathlib import Path

from sealwave.images.errors import HostLacks, LockError, ToolFailed
from sealwave.images.gosource import source_digest
from sealwave.images.lock import LockedGoPart
from sealwave.images.sandbox import run_program
from sealwave.images.spec import GoPart
from sealwave.images.store import Store, write_atomic

GO_SECONDS = 3600.0
"""Longest build of one program. kubelet takes 260 s on 2 cores with nothing cached, and more under load."""

_ALWAYS = ("-trimpath", "-buildvcs=false")
"""Flags without which the same sources would give other bytes in another folder or another checkout."""

_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOOS": "linux",
    "GOARCH": "amd64",
    "GOFLAGS": "",
    "GOAMD64": "v1",
    "GOEXPERIMENT": "",
}


def build_part(part: GoPart, *, store: Store, cache: Path) -> LockedGoPart:
    """Build one program, or take it from the store if these inputs were built before. Raises `LockError`."""
    sources = source_digest(part.source)
    _check_version(part)
    key = part_key(part, sources)
    note = cache / "go" / key
    if note.is_file():
        sha256 = note.read_text(encoding="ascii").strip()
        if store.holds(sha256):
            return _locked(part, sources, sha256, store.path(sha256, f"the Go program {part.name}").stat().st_size)
    with tempfile.TemporaryDirectory(prefix="sealwave-go-") as scratch:
        output = Path(scratch, part.name)
        _compile(part, output)
        sha256, size = store.add_file(output), output.stat().st_size
    write_atomic(note, f"{sha256}\n".encode("ascii"))
    return _locked(part, sources, sha256, size)


def part_key(part: GoPart, sources: str) -> str:
    """The name of everything that decides the bytes of a program."""
    inputs = [part.package, part.toolchain, list(_ALWAYS), list(part.flags), sorted(_ENVIRONMENT.items()), sources]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def _check_version(part: GoPart) -> None:
    """Hold the spec's word against go.mod: what a person reads in the spec is what is built."""
    if not part.module:
        return
    text = (part.source / "go.mod").read_text(encoding="utf-8")
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(part.module)}\s+(v\S+)", text, re.MULTILINE)
    if found is None or found.group(1) != part.version:
        has = found.group(1) if found else "does not require it"
        raise LockError(
            f"the spec wants {part.module} {part.version} for {part.name}, but {part.source / 'go.mod'} has {has}; "
            "make the two agree"
        )


def _compile(part: GoPart, output: Path) -> None:
    environment = {**os.environ, **_ENVIRONMENT, "GOTOOLCHAIN": part.toolchain}
    line = ["go", "build", *_ALWAYS, "-mod=readonly", *part.flags, "-o", str(output), part.package]
    try:
        version = run_program(
            ["go", "env", "GOVERSION"], seconds=GO_SECONDS, environment=environment, folder=part.source
        )
        if version.decode().strip() != part.toolchain:
            raise HostLacks(f"the Go toolchain {part.toolchain}", "install it, or let Go fetch it from its proxy")
        run_program(line, seconds=GO_SECONDS, environment=environment, folder=part.source)
    except ToolFailed as error:
        raise LockError(f"the Go program {part.name} ({part.package}) cannot be built: {error}") from error


def _locked(part: GoPart, sources: str, sha256: str, size: int) -> LockedGoPart:
    return LockedGoPart(
        name=part.name,
        module=part.module,
        version=part.version,
        package=part.package,
        toolchain=part.toolchain,
        flags=part.flags,
        sources=sources,
        sha256=sha256,
        size=size,
    )
