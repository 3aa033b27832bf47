"""From a spec to an image folder that the lab can boot and serve, with the lab's keys.

A lock is made once and kept beside the image: old package versions vanish from mirrors. It is made anew only when it
no longer fits its spec, our keys or this host's programs, or when the store has lost a file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sealwave.images.build import build_image
from sealwave.images.debian import named_mirrors
from sealwave.images.errors import LockError, StoreMissing
from sealwave.images.lock import Trust, check_lock, load_lock
from sealwave.images.manifest import digest as digest_of
from sealwave.images.resolve import Anchors, host_programs, lock_image
from sealwave.images.seal import Sealer
from sealwave.images.spec import load_spec
from sealwave.images.steps import StepEvent
from sealwave.images.store import Store, hash_file
from sealwave.infra.settings import Settings
from sealwave.signing.keys import LabKeys

__all__ = ["BuiltImage", "Pipeline", "read_image"]

Report = Callable[[str], None]


@dataclass(frozen=True)
class BuiltImage:
    """An image folder, and what its manifest calls itself."""

    folder: Path
    digest: str
    name: str
    version: str
    release_number: int

    @property
    def disk(self) -> Path:
        """The disk to boot from."""
        return self.folder / "disk.raw"

    @property
    def uki(self) -> Path:
        """The unified kernel image."""
        return self.folder / "uki.efi"


class Pipeline:
    """Locks and builds with one set of keys; results lie in `folder`, one folder for each spec's file name."""

    def __init__(self, folder: Path, *, keys: LabKeys, settings: Settings, report: Report) -> None:
        self._folder = folder
        self._keys = keys
        self._cache = settings.cache
        self._store = Store(settings.cache / "store")
        self._mirrors = named_mirrors(settings.mirror, settings.security_mirror)
        self._report = report
        self._anchors = Anchors(
            release=keys.public_path("release"),
            config=keys.public_path("config"),
            secure_boot=keys.certificate_path("db"),
        )

    def lock(self, spec: Path) -> Path:
        """The spec's lock, made when there is none that fits; raises what `images.resolve.lock_image` raises."""
        path = self._folder / f"{spec.stem}.lock"
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._fits(path, spec):
            self._relock(spec, path)
        return path

    def build(self, spec: Path) -> BuiltImage:
        """Lock if need be and build; raises what `images.build.build_image` raises."""
        lock = self.lock(spec)
        try:
            return self._build(spec, lock)
        except StoreMissing as error:
            self._report(f"{error}; locking anew")
            self._relock(spec, lock)
            return self._build(spec, lock)

    def _build(self, spec: Path, lock: Path) -> BuiltImage:
        def tell(event: StepEvent) -> None:
            self._report(f"{spec.stem}: {event.step} {event.state}")

        folder = build_image(
            spec,
            lock,
            store=self._store,
            cache=self._cache,
            seal=Sealer(self._keys),
            out=self._folder / spec.stem,
            progress=tell,
        )
        return read_image(folder)

    def _relock(self, spec: Path, path: Path) -> None:
        lock_image(
            spec,
            path,
            anchors=self._anchors,
            store=self._store,
            cache=self._cache,
            mirrors=self._mirrors,
            report=lambda text: self._report(f"{spec.stem}: {text}"),
        )

    def _fits(self, path: Path, spec: Path) -> bool:
        if not path.exists():
            return False
        try:
            lock = load_lock(path)
            check_lock(lock, load_spec(spec), programs=host_programs())
        except LockError:
            return False
        anchors = self._anchors
        ours = (hash_file(anchors.release), hash_file(anchors.config), hash_file(anchors.secure_boot))
        return lock.trust == Trust(*ours)


def read_image(folder: Path) -> BuiltImage:
    """The image in this folder, as its manifest says."""
    manifest = (folder / "image.json").read_bytes()
    content = json.loads(manifest)
    return BuiltImage(folder, digest_of(manifest), content["name"], content["version"], content["releaseNumber"])
