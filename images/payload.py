"""Parts of the root tree that are no Debian packages: Go programs, trust anchors, the agent and its units."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import sealwave
from sealwave.images.agentzip import agent_sources, build_agent
from sealwave.images.confine import place_inside
from sealwave.images.errors import SpecError
from sealwave.images.lock import Lock
from sealwave.images.ociarchive import oci_archive
from sealwave.images.sandbox import Sandbox
from sealwave.images.spec import GoPart, NodeImage
from sealwave.images.store import Store

HOUSE = Path(sealwave.__path__[0])
"""The folder of the package `sealwave`."""

UNITS = HOUSE / "images/agent/units"
"""Units of the agent, with drop-in folders beside them."""

_UNIT = re.compile(r"\.(service|timer|mount|socket|target|path)$")
_INSTALL = re.compile(r"^\[Install\]$", re.MULTILINE)


def place_parts(spec: NodeImage, lock: Lock, *, tree: Path, store: Store, tools: Sandbox) -> None:
    """Put every part in its place in `tree`. Raises `StoreError` and `SpecError`."""
    for part in spec.go_parts:
        locked = lock.go_part(part.name)
        program = store.read(locked.sha256, f"the Go program {part.name}")
        if part.destination.endswith(".tar"):
            _write(tree, part.destination, oci_archive(program, path=f"/{part.name}", name=_image_name(spec, part)))
        else:
            _write(tree, part.destination, program, mode=0o755)
    _write(tree, "/usr/lib/sealwave/trust/release.pub", store.read(lock.trust.release, "the release key"))
    _write(tree, "/usr/lib/sealwave/trust/config.pub", store.read(lock.trust.config, "the configuration key"))
    _write(tree, "/usr/lib/sealwave/agent.pyz", build_agent(agent_sources(HOUSE), tools=tools), mode=0o755)
    packages = [{key: value for key, value in asdict(package).items() if key != "path"} for package in lock.packages]
    _write(tree, "/usr/lib/sealwave/packages.json", (json.dumps(packages, indent=1) + "\n").encode())
    copy_units(tree)


def copy_units(tree: Path, units: Path = UNITS) -> None:
    """Copy the agent's units and their drop-ins; files for the way up are `bootside`'s."""
    system = tree / "usr/lib/systemd/system"
    for entry in sorted(units.iterdir()):
        if entry.is_file() and _UNIT.search(entry.name):
            _copy(entry, system / entry.name)
        elif entry.is_dir() and entry.suffix == ".d":
            for file in sorted(entry.iterdir()):
                _copy(file, system / entry.name / file.name)


def own_units(units: Path = UNITS) -> tuple[str, ...]:
    """Names of the agent's units that say where they want to be enabled."""
    files = [file for file in sorted(units.iterdir()) if file.is_file() and _UNIT.search(file.name)]
    return tuple(file.name for file in files if _INSTALL.search(file.read_text(encoding="utf-8")))


def _image_name(spec: NodeImage, part: GoPart) -> str:
    if not part.image:
        raise SpecError(
            spec.source, 1, f"the Go part {part.name} becomes a container image and lacks `image`, its name"
        )
    return part.image


def _write(tree: Path, path: str, content: bytes, *, mode: int = 0o644) -> None:
    place = place_inside(tree, path.lstrip("/"), what="a part of the image")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    place.chmod(mode)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)
