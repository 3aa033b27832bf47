"""What can go wrong between a spec and a sealed image.

    ImageError
    |- SpecError           their input: the spec says something that we do not understand
    |- LockError           resolving failed, or a lock is unusable
    |  |- PackageNotFound  a package that no suite offers
    |  `- LockMismatch     the lock was made from another spec, or by other tools
    |- StoreError          a file of the package store
    |  |- StoreMissing     it is not there
    |  `- StoreCorrupt     its bytes are not what its name says
    |- ToolFailed          a program inside the tools tree ended with an error
    |- HostLacks           this machine lacks a program or a right that is needed
    |- OutsideFolder       a name leads out of the folder that it belongs into (`confine`)
    |- NoSpace             the disk is full
    `- CheckFailed         the built tree does not do what the spec or its checks ask for

Each carries its facts in fields and says in one sentence what happened and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class ImageError(Exception):
    """The root of everything that this folder raises on purpose."""


class SpecError(ImageError):
    """The spec is wrong at a place that a person can go to."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason


class LockError(ImageError):
    """Resolving the spec failed, or a lock file cannot be used."""


class PackageNotFound(LockError):
    """A package that none of the suites offers."""

    def __init__(self, packages: Sequence[str], suites: Sequence[str]) -> None:
        many = "packages" if len(packages) > 1 else "package"
        super().__init__(
            f"no {many} {', '.join(packages)} in {' or '.join(suites)}; correct the name under `packages` in the spec"
        )
        self.packages = tuple(packages)
        self.suites = tuple(suites)


class LockMismatch(LockError):
    """The lock belongs to another spec, or names tools that this machine does not run."""


class StoreError(ImageError):
    """A file of the package store."""


class StoreMissing(StoreError):
    """The lock names a file that the store does not hold."""

    def __init__(self, sha256: str, wanted_for: str) -> None:
        super().__init__(
            f"the store holds no file sha256:{sha256}, needed for {wanted_for}; copy the store that was made with "
            "the lock, or run `sealwave image lock` again"
        )
        self.sha256 = sha256


class StoreCorrupt(StoreError):
    """A file of the store whose bytes are not what its name says."""

    def __init__(self, path: Path, *, wanted: str, found: str, used_for: str) -> None:
        super().__init__(
            f"{path} ({used_for}) should hash to sha256:{wanted} but hashes to sha256:{found}; delete it and run "
            "`sealwave image lock` again, or copy it from a good store"
        )
        self.path = path
        self.wanted = wanted
        self.found = found


class ToolFailed(ImageError):
    """A program ended with an error; `output` is the last part of what it said."""

    def __init__(self, command: Sequence[str], *, status: int, output: str) -> None:
        last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "it said nothing")
        super().__init__(f"{command[0]} ended with status {status}: {last}")
        self.command = tuple(command)
        self.status = status
        self.output = output


class HostLacks(ImageError):
    """This machine lacks something that the step needs."""

    def __init__(self, what: str, how: str) -> None:
        super().__init__(f"this machine lacks {what}; {how}")
        self.what = what


class NoSpace(ImageError):
    """The disk under a folder is full."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"no space is left on the disk that holds {path}; free some, nothing half-written was kept")
        self.path = path


class CheckFailed(ImageError):
    """The tree was built, and does not do what was asked of it."""
