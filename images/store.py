"""The package store: files named by the SHA-256 of their bytes.

Rules:
1. A file is `sha256/<hex>` and is never changed; two writers of one file write the same bytes.
2. A file appears whole or not at all: it is written beside its place, flushed, and renamed.
3. A file is hashed each time it is handed out. A disk that rots or a person that edits is found before a build uses it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sealwave.images.errors import NoSpace, StoreCorrupt, StoreError, StoreMissing
from sealwave.signing import files

_CHUNK = 1 << 20


class Store:
    """A folder of content-addressed files. Values named `sha256` are 64 lower-case hex digits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, sha256: str) -> Path:
        """Where the file with this hash stands, or would stand; says nothing about whether it does."""
        return self.folder / "sha256" / sha256

    def holds(self, sha256: str) -> bool:
        """Whether a file of that name is there. Its bytes are checked by `path` and `read`."""
        return self.place(sha256).is_file()

    def path(self, sha256: str, used_for: str) -> Path:
        """The path of a file whose bytes were just checked. Raises `StoreMissing` or `StoreCorrupt`."""
        path = self.place(sha256)
        try:
            found = hash_file(path)
        except FileNotFoundError:
            raise StoreMissing(sha256, used_for) from None
        if found != sha256:
            raise StoreCorrupt(path, wanted=sha256, found=found, used_for=used_for)
        return path

    def read(self, sha256: str, used_for: str) -> bytes:
        """The checked bytes of a small file."""
        path = self.place(sha256)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise StoreMissing(sha256, used_for) from None
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise StoreCorrupt(path, wanted=sha256, found=found, used_for=used_for)
        return data

    def add_bytes(self, data: bytes) -> str:
        """Put bytes in and return their hash."""
        return self.add_stream([data])

    def add_file(self, path: Path) -> str:
        """Put a copy of a file in and return its hash."""
        with path.open("rb") as stream:
            return self.add_stream(_chunks(stream))

    def add_stream(self, chunks: Iterable[bytes], *, wanted: str | None = None, used_for: str = "") -> str:
        """Put in what arrives piece by piece and return its hash.

        With `wanted`, bytes of any other hash are thrown away and `StoreCorrupt` is raised.
        """
        folder = self.folder / "sha256"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".new-", dir=folder)
            temporary = Path(name)
            digest = hashlib.sha256()
            try:
                with os.fdopen(handle, "wb") as stream:
                    for chunk in chunks:
                        digest.update(chunk)
                        stream.write(chunk)
                    stream.flush()
                    os.fsync(stream.fileno())
                found = digest.hexdigest()
                if wanted is not None and found != wanted:
                    raise StoreCorrupt(temporary, wanted=wanted, found=found, used_for=used_for)
                temporary.chmod(0o644)
                temporary.replace(self.place(found))
                files.sync_folder(folder)
                return found
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise _disk_error(error, folder) from error


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """As `signing.files.write_atomic`, with the folder made and a full disk told in one sentence."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(path, data, mode=mode)
    except OSError as error:
        raise _disk_error(error, path.parent) from error


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Let one process at a time work in a folder; the others wait. The kernel frees it when its holder dies."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A scratch folder that becomes `target` when the block ends well and vanishes when it does not.

    If `target` exists meanwhile (another process was quicker), the scratch folder is thrown away: both hold the same,
    because `target` is named by what it is made from.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name[:16]}-", dir=target.parent))
    try:
        scratch.chmod(0o755)
        yield scratch
        try:
            scratch.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        files.sync_folder(target.parent)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise NoSpace(target.parent) from error
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


def _disk_error(error: OSError, folder: Path) -> StoreError | NoSpace:
    if error.errno == errno.ENOSPC:
        return NoSpace(folder)
    return StoreError(f"{folder} cannot be written ({error.strerror}); check its rights and its disk")
