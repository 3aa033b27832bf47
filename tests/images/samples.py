"""Small values for tests of the image build."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

from sealwave.images.debian import Package
from sealwave.images.lock import Lock, LockedFile, LockedGoPart, Trust

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

SPEC = """\
apiVersion: sealwave.dev/v1
kind: NodeImage
name: small
version: 1.0.0
releaseNumber: 1
base:
  suite: trixie
packages:
  - systemd
kernel:
  package: linux-image-cloud-amd64
"""


def package(name: str, *, content: bytes = b"x", version: str = "1.0-1", path: str = "") -> Package:
    return Package(
        name=name,
        version=version,
        architecture="amd64",
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        suite="trixie",
        path=path or f"pool/main/{name[0]}/{name}/{name}.deb",
    )


def lock(**changes: object) -> Lock:
    values: dict[str, object] = {
        "spec": "a" * 64,
        "source_date_epoch": 1_700_000_000,
        "kernel_abi": "6.12.1+deb13-cloud-amd64",
        "kernel_version": "6.12.1-1",
        "packages": (package("base-files"), package("systemd")),
        "tools": (package("mmdebstrap"),),
        "go_parts": (
            LockedGoPart(
                name="pause",
                module="",
                version="",
                package="example.org/pause",
                toolchain="go1.26.8",
                flags=("-ldflags=-s",),
                sources=f"sha256:{'b' * 64}",
                sha256="c" * 64,
                size=7,
            ),
        ),
        "files": (LockedFile("checks/test_node.py", "d" * 64),),
        "trust": Trust(release="1" * 64, config="2" * 64, secure_boot="3" * 64),
        "programs": {"pyinfra": "3.10.0"},
    }
    return Lock(**{**values, **changes})  # type: ignore[arg-type]  # each test names the fields that it changes


def deb(control: str) -> bytes:
    """A .deb with this control paragraph and no files."""
    return b"!<arch>\n" + b"".join(
        _member(name, content)
        for name, content in (
            ("debian-binary", b"2.0\n"),
            ("control.tar.xz", _tar({"./control": control.encode()})),
            ("data.tar.xz", _tar({})),
        )
    )


def _member(name: str, content: bytes) -> bytes:
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
    return header + content + (b"\n" if len(content) % 2 else b"")


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
