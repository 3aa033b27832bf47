"""The lock: every input of an image by SHA-256, as a value and as a file.

Rules:
1. A lock belongs to the bytes of one spec. A spec that changed by one byte needs a new lock.
2. A lock names no host, no path of a machine and no time of day: two people who lock one state write one file.
3. This module reads files and asks no network; who fills a lock is `resolve`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jsonschema

from sealwave.images.debian import Package
from sealwave.images.errors import LockError, LockMismatch
from sealwave.images.gosource import source_digest
from sealwave.images.spec import NodeImage, load_schema
from sealwave.images.store import hash_file, write_atomic


@dataclass(frozen=True)
class LockedGoPart:
    """A program as it was built: from what, and what came out (`size` in bytes)."""

    name: str
    module: str
    version: str
    package: str
    toolchain: str
    flags: tuple[str, ...]
    sources: str
    sha256: str
    size: int


@dataclass(frozen=True)
class LockedFile:
    """A user's own file: its path relative to the spec, and its hash."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Trust:
    """Public halves of the keys that an image trusts, by the SHA-256 of their files' bytes (hex)."""

    release: str
    config: str
    secure_boot: str


@dataclass(frozen=True)
class Lock:
    """Everything that a build reads. `spec` is the hex SHA-256 of the spec's bytes."""

    spec: str
    source_date_epoch: int
    kernel_abi: str
    kernel_version: str
    packages: tuple[Package, ...]
    tools: tuple[Package, ...]
    go_parts: tuple[LockedGoPart, ...]
    files: tuple[LockedFile, ...]
    trust: Trust
    programs: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """The hash of the lock's file."""
        return hashlib.sha256(dump_lock(self)).hexdigest()

    def go_part(self, name: str) -> LockedGoPart:
        """A program by the name that the spec gives it."""
        return next(part for part in self.go_parts if part.name == name)


def dump_lock(lock: Lock) -> bytes:
    """The bytes of a lock's file: the same value gives the same bytes."""
    document = {
        "apiVersion": "sealwave.dev/v1",
        "kind": "NodeImageLock",
        "spec": f"sha256:{lock.spec}",
        "sourceDateEpoch": lock.source_date_epoch,
        "kernel": {"abi": lock.kernel_abi, "version": lock.kernel_version},
        "packages": [asdict(package) for package in lock.packages],
        "tools": [asdict(package) for package in lock.tools],
        "goParts": [{**asdict(part), "flags": list(part.flags)} for part in lock.go_parts],
        "files": [asdict(file) for file in lock.files],
        "trust": {
            "release": f"sha256:{lock.trust.release}",
            "config": f"sha256:{lock.trust.config}",
            "secureBoot": f"sha256:{lock.trust.secure_boot}",
        },
        "programs": dict(sorted(lock.programs.items())),
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def parse_lock(data: bytes, path: Path) -> Lock:
    """Check the bytes of a lock and read them; `path` is where they came from. Raises `LockError`."""
    try:
        document: dict[str, Any] = json.loads(data)
    except ValueError as error:
        raise LockError(f"{path} is not JSON; run `sealwave image lock` again") from error
    found = next(
        jsonschema.Draft202012Validator(load_schema("node-image-lock.schema.json")).iter_errors(document), None
    )
    if found is not None:
        place = ".".join(str(step) for step in found.absolute_path) or "its top"
        raise LockError(f"{path} is not a lock of this version (at {place}); run `sealwave image lock` again")
    trust = document["trust"]
    return Lock(
        spec=_hex(document["spec"]),
        source_date_epoch=document["sourceDateEpoch"],
        kernel_abi=document["kernel"]["abi"],
        kernel_version=document["kernel"]["version"],
        packages=tuple(Package(**entry) for entry in document["packages"]),
        tools=tuple(Package(**entry) for entry in document["tools"]),
        go_parts=tuple(LockedGoPart(**{**entry, "flags": tuple(entry["flags"])}) for entry in document["goParts"]),
        files=tuple(LockedFile(**entry) for entry in document["files"]),
        trust=Trust(
            release=_hex(trust["release"]), config=_hex(trust["config"]), secure_boot=_hex(trust["secureBoot"])
        ),
        programs=document["programs"],
    )


def load_lock(path: Path) -> Lock:
    """Read and check a lock's file. Raises `LockError`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LockError(
            f"the lock {path} cannot be read ({error.strerror}); make it with `sealwave image lock`"
        ) from error
    return parse_lock(data, path)


def save_lock(lock: Lock, path: Path) -> None:
    """Replace a lock's file, whole or not at all."""
    write_atomic(path, dump_lock(lock))


def check_lock(lock: Lock, spec: NodeImage, *, programs: Mapping[str, str]) -> None:
    """Refuse a lock that was made from another spec, or that other programs would build. Raises `LockMismatch`.

    Files beside the spec and Go sources are compared too, where they are still there: a build takes what was locked,
    and a person who edited one of them would otherwise wonder why nothing changed.
    """
    if lock.spec != spec.sha256:
        raise LockMismatch(
            f"the lock was made from another text of {spec.source} (sha256:{lock.spec[:12]}..., the file is now "
            f"sha256:{spec.sha256[:12]}...); run `sealwave image lock` again"
        )
    for name, version in sorted(lock.programs.items()):
        if programs.get(name) != version:
            raise LockMismatch(
                f"the lock was made with {name} {version}, and this machine has {programs.get(name, 'none')}; install "
                "that version or lock again"
            )
    for place in changed_sources(lock, spec):
        raise LockMismatch(f"{place} has changed since the lock was made; run `sealwave image lock` again")


def changed_sources(lock: Lock, spec: NodeImage) -> list[Path]:
    """Files and folders that the lock was made from and that now hold something else."""
    files = [(spec.source.absolute().parent / file.name, file.sha256) for file in lock.files]
    changed = [place for place, sha256 in files if place.is_file() and hash_file(place) != sha256]
    sources = {part.name: part.sources for part in lock.go_parts}
    for part in spec.go_parts:
        if part.source.is_dir() and source_digest(part.source) != sources.get(part.name):
            changed.append(part.source)
    return changed


def kernel_of(packages: Sequence[Package], wanted: str) -> tuple[str, str]:
    """The ABI name and the Debian version of the kernel that a kernel package brings. Raises `LockError`."""
    names = [
        package for package in packages if package.name.startswith("linux-image-") and package.name[12:13].isdigit()
    ]
    if len(names) != 1:
        raise LockError(
            f"the kernel package {wanted} brings {len(names)} kernels, and an image holds one; name another"
        )
    return names[0].name.removeprefix("linux-image-"), names[0].version


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")
