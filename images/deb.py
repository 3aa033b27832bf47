"""Reading of .deb files and the index of a flat archive; pure.

A .deb is an `ar` archive (deb(5)): `debian-binary`, then `control.tar.*`, then `data.tar.*`. Only the control paragraph
is read here; contents are unpacked by dpkg.
"""

from __future__ import annotations

import email.utils
import hashlib
import io
import tarfile

from sealwave.images.debian import Package
from sealwave.images.errors import LockError

_MAGIC = b"!<arch>\n"
_HEADER = 60


def control(data: bytes, package: str) -> str:
    """The control paragraph of a .deb, ending in one newline. Raises `LockError` naming `package`."""
    try:
        with tarfile.open(fileobj=io.BytesIO(_member(data, "control.tar")), mode="r:*") as archive:
            stream = archive.extractfile("./control")
            if stream is None:
                raise KeyError("control")
            return stream.read().decode("utf-8").rstrip("\n") + "\n"
    except (tarfile.TarError, KeyError, ValueError) as error:
        raise LockError(f"{package} is not a package that can be read; lock again from another mirror") from error


def _member(data: bytes, prefix: str) -> bytes:
    if not data.startswith(_MAGIC):
        raise ValueError("not an ar archive")
    at = len(_MAGIC)
    while at + _HEADER <= len(data):
        name = data[at : at + 16].decode("ascii").strip().rstrip("/")
        size = int(data[at + 48 : at + 58])
        if name.startswith(prefix):
            return data[at + _HEADER : at + _HEADER + size]
        at += _HEADER + size + size % 2
    raise KeyError(prefix)


def file_name(package: Package) -> str:
    """The name under which a package stands in a flat archive."""
    return f"{package.name}_{package.version.replace(':', '%3a')}_{package.architecture}.deb"


def packages_index(entries: list[tuple[Package, str]]) -> bytes:
    """The `Packages` file for packages and their control paragraphs."""
    paragraphs = [
        f"{paragraph}Filename: ./{file_name(package)}\nSize: {package.size}\nSHA256: {package.sha256}\n"
        for package, paragraph in sorted(entries)
    ]
    return "\n".join(paragraphs).encode()


def release_file(index: bytes, *, suite: str, architecture: str, date: int) -> bytes:
    """The `Release` file of a flat archive; without a suite mmdebstrap would find no essential packages."""
    lines = [
        f"Suite: {suite}",
        f"Codename: {suite}",
        f"Architectures: {architecture}",
        f"Date: {email.utils.formatdate(date)}",
        "SHA256:",
        f" {hashlib.sha256(index).hexdigest()} {len(index)} Packages",
    ]
    return ("\n".join(lines) + "\n").encode()
