"""`build`: from lock and store to a root tree, and on to a sealed image; offline.

Steps, each cached by what decides it:
1. tools: the pinned programs that do all the rest.
2. packages: the locked packages installed and slimmed. Releases that differ in settings only share this.
3. tree: Go programs, agent, trust anchors; configured; compiled; stripped; every time set to the lock's; checked.
4. seal: EROFS, verity, UKI, disk and the signed manifest.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from sealwave.images import bootside
from sealwave.images.agentzip import agent_sources, compile_tree
from sealwave.images.check import check_tree
from sealwave.images.configure import configure, settings
from sealwave.images.errors import NoSpace, ToolFailed
from sealwave.images.lock import Lock, check_lock, load_lock
from sealwave.images.payload import HOUSE, UNITS, own_units, place_parts
from sealwave.images.prune import check_stripped, slim, strip, walk
from sealwave.images.resolve import host_programs
from sealwave.images.sandbox import Sandbox, check_host
from sealwave.images.spec import NodeImage, load_spec
from sealwave.images.steps import Progress, StepEvent, cached_step, step_key, timed
from sealwave.images.store import Store, hash_file
from sealwave.images.toolstree import tools_key, tools_tree
from sealwave.images.tree import install_packages

_PACKAGES_MODULES = ("tree.py", "deb.py", "prune.py", "sandbox.py", "toolstree.py")
_TREE_MODULES = (
    "agentzip.py",
    "basedeploy.py",
    "bootside.py",
    "build.py",
    "check.py",
    "confine.py",
    "configure.py",
    "hoststage.py",
    "ociarchive.py",
    "payload.py",
    "prune.py",
    "sandbox.py",
)


_FULL = os.strerror(errno.ENOSPC)
"""What programs say when a disk is full; they run in the C locale, so they say it in these words."""


@dataclass(frozen=True)
class RootTree:
    """A finished root tree, to be read only, and what sealing needs beside it."""

    folder: Path
    key: str
    spec: NodeImage
    lock: Lock
    tools: Sandbox


class Seal(Protocol):
    """The second half of a build: makes the image folder `out` from a finished tree."""

    def __call__(self, tree: RootTree, *, out: Path, progress: Progress) -> None:
        """Freeze, sign and write every file of the image."""
        ...


def quiet(event: StepEvent) -> None:
    """A progress that tells nobody."""


def build_tree(spec_path: Path, lock_path: Path, *, store: Store, cache: Path, progress: Progress = quiet) -> RootTree:
    """Build a root tree, or find it in the cache; the network is not used.

    Raises `SpecError`, `LockError` (`LockMismatch` for a lock of another spec), `StoreError` for a missing or spoiled
    file, `ToolFailed` when a package cannot be installed, `CheckFailed` for a deploy or a check that fails, `NoSpace`.
    """
    check_host()
    try:
        return _build_tree(spec_path, lock_path, store=store, cache=cache, progress=progress)
    except ToolFailed as error:
        if _FULL in error.output:
            raise NoSpace(cache) from error
        raise


def _build_tree(spec_path: Path, lock_path: Path, *, store: Store, cache: Path, progress: Progress) -> RootTree:
    spec, lock = load_spec(spec_path), load_lock(lock_path)
    check_lock(lock, spec, programs=host_programs())
    with timed("tools", progress):
        tools = Sandbox(tools_tree(lock.tools, store=store, cache=cache), epoch=lock.source_date_epoch)
    packages_key = step_key("packages", packages_inputs(spec, lock), _PACKAGES_MODULES)

    def make_packages(folder: Path) -> None:
        with plain_modes():
            install_packages(spec, lock, store=store, tools=tools, target=folder / "tree")
            slim(folder / "tree", kernel=lock.kernel_abi, modules=spec.kernel_modules)
        tools.run(["depmod", "--basedir", folder / "tree", lock.kernel_abi], write=[folder])

    packages = cached_step("packages", packages_key, cache=cache, make=make_packages, progress=progress)
    key = step_key("tree", [packages_key, tree_inputs(spec, lock)], _TREE_MODULES)

    def make_tree(folder: Path) -> None:
        finish_tree(spec, lock, packages=packages / "tree", tree=folder / "tree", store=store, tools=tools)

    finished = cached_step("tree", key, cache=cache, make=make_tree, progress=progress)
    return RootTree(folder=finished / "tree", key=key, spec=spec, lock=lock, tools=tools)


def finish_tree(spec: NodeImage, lock: Lock, *, packages: Path, tree: Path, store: Store, tools: Sandbox) -> None:
    """Make the finished `tree` from a copy of the installed packages."""
    copy_tree(packages, tree)
    with plain_modes():
        _furnish(spec, lock, tree=tree, store=store, tools=tools)
    check_stripped(tree)
    set_times(tree, lock.source_date_epoch)
    check_tree(spec, lock, tree=tree, store=store, tools=tools.tools)


def _furnish(spec: NodeImage, lock: Lock, *, tree: Path, store: Store, tools: Sandbox) -> None:
    place_parts(spec, lock, tree=tree, store=store, tools=tools)
    configure(spec, lock, tree=tree, store=store, units=own_units())
    bootside.install(tree)
    compile_tree(tree, [path for path in sorted((tree / "usr/lib").glob("python3*")) if path.is_dir()], tools=tools)
    strip(tree)


@contextmanager
def plain_modes() -> Iterator[None]:
    """Let files be made with the modes that our code says, whatever the umask of the person who builds."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def packages_inputs(spec: NodeImage, lock: Lock) -> Mapping[str, Any]:
    """What decides the installed packages."""
    return {
        "tools": tools_key(lock.tools),
        "epoch": lock.source_date_epoch,
        "suite": spec.suite,
        "arch": spec.arch,
        "wanted": spec.wanted,
        "modules": spec.kernel_modules,
        "packages": [(package.name, package.sha256) for package in lock.packages],
    }


def tree_inputs(spec: NodeImage, lock: Lock) -> Mapping[str, Any]:
    """What decides the finished tree beside its packages."""
    agent = {name: content.hex() for name, content in agent_sources(HOUSE).items()}
    units = {str(path.relative_to(UNITS)): hash_file(path) for path in sorted(UNITS.rglob("*")) if path.is_file()}
    return {
        "goParts": [asdict(part) for part in lock.go_parts],
        "destinations": [(part.name, part.destination, part.image) for part in spec.go_parts],
        "trust": asdict(lock.trust),
        "files": [asdict(file) for file in lock.files],
        "deploys": spec.deploys,
        "checks": spec.checks,
        "settings": settings(spec, units=own_units()),
        "programs": dict(lock.programs),
        "agent": agent,
        "units": units,
    }


def copy_tree(source: Path, target: Path) -> None:
    """Copy a tree with owners, modes, links and hard links; blocks are shared where the file system can."""
    line = ["cp", "--archive", "--reflink=auto", str(source), str(target)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(target, ignore_errors=True)
        raise ToolFailed(["cp"], status=done.returncode, output=done.stderr)


def set_times(tree: Path, epoch: int) -> None:
    """Give everything one time: when it was built is no part of an image."""
    for path in [*walk(tree), tree]:
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def build_image(
    spec_path: Path,
    lock_path: Path,
    *,
    store: Store,
    cache: Path,
    seal: Seal,
    out: Path,
    progress: Progress = quiet,
) -> Path:
    """Build the image folder `out`, whole or not at all; `seal` holds the keys. Raises what `build_tree` raises."""
    tree = build_tree(spec_path, lock_path, store=store, cache=cache, progress=progress)
    scratch = out.parent / f".{out.name}.new"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        seal(tree, out=scratch, progress=progress)
        shutil.copyfile(lock_path, scratch / "lock.json")
        shutil.rmtree(out, ignore_errors=True)
        scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return out
