"""`lock`: the only step that resolves anything.

1. Read the spec and the public trust anchors, and see that every named file is there (before the first slow step).
2. Ask the package indexes for the image's packages and for the tools'.
3. Fetch what the store lacks; build the Go programs that it lacks.
4. Write the lock. Until this moment nothing that a build reads has changed but for new files in the store.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sealwave.images.debian import AptRoot, Mirrors, machine_mirrors
from sealwave.images.errors import LockError, SpecError
from sealwave.images.fetch import fetch_packages
from sealwave.images.gobuild import build_part
from sealwave.images.lock import Lock, LockedFile, Trust, kernel_of, save_lock
from sealwave.images.spec import NodeImage, load_spec
from sealwave.images.store import Store, exclusive
from sealwave.images.toolstree import TOOLS

Report = Callable[[str], None]
"""Is told, in a few words, what is going on now."""

_PROGRAMS = ("pyinfra", "pytest-testinfra")
"""Python distributions on the host that write into the tree or judge it."""


@dataclass(frozen=True)
class Anchors:
    """Files with the public halves of the keys that the image will trust."""

    release: Path
    config: Path
    secure_boot: Path


def lock_image(
    spec_path: Path,
    lock_path: Path,
    *,
    anchors: Anchors,
    store: Store,
    cache: Path,
    mirrors: Mirrors | None = None,
    report: Report = lambda text: None,
) -> Lock:
    """Resolve a spec into a lock and fill the store. `mirrors` defaults to those of this machine's apt.

    Raises `SpecError` for the spec, `PackageNotFound` and other `LockError`s for what cannot be resolved.
    """
    spec = load_spec(spec_path)
    trust = Trust(
        release=_keep(anchors.release, store),
        config=_keep(anchors.config, store),
        secure_boot=_keep(anchors.secure_boot, store),
    )
    files = _own_files(spec, store)
    mirrors = mirrors or machine_mirrors()
    apt = AptRoot(
        cache / "apt" / _apt_key(spec, mirrors),
        suites=spec.suites,
        architecture=spec.arch,
        keyring=spec.keyring,
        mirrors=mirrors,
    )
    report("ask the package indexes")
    with exclusive(apt.folder):
        apt.update()
        packages, tools, epoch = apt.resolve(spec.wanted), apt.resolve(TOOLS), apt.newest_release()
    report(f"fetch {len({*packages, *tools})} packages")
    fetch_packages([*packages, *tools], mirrors=mirrors, store=store)
    parts = []
    for part in spec.go_parts:
        report(f"build {part.name} {part.version}".rstrip())
        parts.append(build_part(part, store=store, cache=cache))
    abi, version = kernel_of(packages, spec.kernel_package)
    lock = Lock(
        spec=spec.sha256,
        source_date_epoch=epoch,
        kernel_abi=abi,
        kernel_version=version,
        packages=packages,
        tools=tools,
        go_parts=tuple(parts),
        files=files,
        trust=trust,
        programs=host_programs(),
    )
    save_lock(lock, lock_path)
    return lock


def host_programs() -> dict[str, str]:
    """Versions of the Python programs on this host that take part in a build."""
    return {name: importlib.metadata.version(name) for name in _PROGRAMS}


def _apt_key(spec: NodeImage, mirrors: Mirrors) -> str:
    """Lists of one archive must not be taken for another's, and two locks of one archive share them."""
    text = "\n".join([spec.arch, str(spec.keyring), *spec.suites, mirrors.main, mirrors.security])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _keep(path: Path, store: Store) -> str:
    """Put a public anchor in the store. A private key here would end up in an image, so it is refused."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LockError(f"the trust anchor {path} cannot be read ({error.strerror}); make the keys first") from error
    if b"PRIVATE KEY" in data:
        raise LockError(f"the trust anchor {path} holds a private key; name the file with its public half")
    return store.add_bytes(data)


def _own_files(spec: NodeImage, store: Store) -> tuple[LockedFile, ...]:
    folder = spec.source.absolute().parent.resolve()
    files = []
    for name in spec.own_files:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder):
            raise SpecError(spec.source, _line_of(spec, name), f"{name} lies outside the spec's folder; move it inside")
        try:
            files.append(LockedFile(str(path.relative_to(folder)), store.add_bytes(path.read_bytes())))
        except OSError as error:
            raise SpecError(
                spec.source, _line_of(spec, name), f"{name} cannot be read ({error.strerror}); correct its path"
            ) from error
    return tuple(files)


def _line_of(spec: NodeImage, text: str) -> int:
    lines = spec.source.read_text(encoding="utf-8").splitlines()
    return next((number for number, line in enumerate(lines, 1) if text in line), 1)
