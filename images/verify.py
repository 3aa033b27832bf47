"""`image verify`: whether a folder is the image that it says it is, and whether that image keeps our promises.

The checks, in the order in which each one's trust rests on the one before:
1. A trusted release key signed the manifest, and the manifest is one.
2. Every file that it lists has its size and its SHA-256.
3. Every block of the root file system leads to the root hash.
4. Kernel and boot loader carry the signature of the Secure Boot key that the manifest names, and the kernel's signed
   command line carries the root hash.
5. The root holds no shell, no login, no set-user-id file and no private key, and trusts the keys that the manifest
   names.
6. Where the folder has a disk, its slot a holds these files and both copies of its partition table agree.

What is not checked: whether the image is the newest, and whether its sources are good. No network, no root, no tools.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from cryptography import x509

from sealwave.images import erofsread, manifest, prune, uki, verity
from sealwave.images.agent import gpt
from sealwave.images.agent.verity import BLOCK_SIZE
from sealwave.images.errors import CheckFailed
from sealwave.images.store import hash_file
from sealwave.signing import authenticode, dsse
from sealwave.signing.errors import SigningError

_KEY_BYTES: Final = 64 * 1024
"""Files up to this size are looked into for private keys; a key in PEM has a few thousand bytes."""

_CHUNK: Final = 1 << 20

ANCHORS: Final = "usr/lib/sealwave/trust"


def verify(
    folder: Path,
    *,
    release: Sequence[bytes],
    secure_boot: Sequence[bytes],
    report: Callable[[str], None] = lambda _: None,
) -> manifest.Image:
    """Run every check on an image folder and return its manifest.

    Args:
        folder: holds image.json, image.json.dsse and the files.
        release: trusted release keys (PEM), one of which must have signed.
        secure_boot: trusted Secure Boot certificates (PEM).
        report: is told of each check that passed, in a few words.

    Raises:
        CheckFailed: the first check that fails, in one sentence.
    """
    try:
        return _verify(folder, release, secure_boot, report)
    except (SigningError, manifest.ManifestError, erofsread.ErofsError, gpt.GptError) as error:
        raise CheckFailed(f"the image in {folder} is not to be used: {error}") from error
    except OSError as error:
        raise CheckFailed(
            f"{error.filename or folder} cannot be read ({error.strerror}); fetch the image again"
        ) from error


def _verify(
    folder: Path, release: Sequence[bytes], secure_boot: Sequence[bytes], report: Callable[[str], None]
) -> manifest.Image:
    document = (folder / "image.json").read_bytes()
    envelope = (folder / "image.json.dsse").read_bytes()
    if dsse.verify(envelope, payload_type=manifest.PAYLOAD_TYPE, keys=release) != document:
        raise CheckFailed(f"the signature in {folder} belongs to another image.json; fetch both again")
    image = manifest.parse(document)
    report("manifest signed")
    for entry in image.files:
        _check_file(folder / entry.path, entry)
    report(f"{len(image.files)} files equal their hashes")
    shape = verity.check(folder / "root.erofs", folder / "root.verity", image.root_hash)
    hash_blocks = image.file("root.verity").size // BLOCK_SIZE
    if (shape.data_blocks, hash_blocks) != (image.verity.data_blocks, image.verity.hash_blocks):
        raise CheckFailed(
            f"the manifest in {folder} names another number of blocks than its files have; build it again"
        )
    report(f"{shape.data_blocks} blocks lead to the root hash")
    _check_boot(folder, image, secure_boot)
    report("kernel and boot loader signed")
    _check_root(folder / "root.erofs", image)
    report("no shell and no key in the root")
    if (folder / "lock.json").exists() and f"sha256:{hash_file(folder / 'lock.json')}" != image.lock:
        raise CheckFailed(f"{folder / 'lock.json'} is not the lock that the manifest names; take it from the build")
    if (folder / "disk.raw").exists():
        _check_disk(folder, image)
        report("slot a of the disk holds the image")
    return image


def _check_file(path: Path, entry: manifest.ImageFile) -> None:
    size = path.stat().st_size
    if size != entry.size:
        raise CheckFailed(f"{path} has {size} bytes and the manifest says {entry.size}; fetch it again")
    found = hash_file(path)
    if found != entry.sha256:
        raise CheckFailed(
            f"{path} hashes to {found[:12]}... and the manifest says {entry.sha256[:12]}...; fetch it again"
        )


def _check_boot(folder: Path, image: manifest.Image, secure_boot: Sequence[bytes]) -> None:
    trusted = [pem for pem in secure_boot if f"sha256:{hashlib.sha256(pem).hexdigest()}" == image.trust_secure_boot]
    if not trusted:
        raise CheckFailed(
            f"the image in {folder} is signed for another Secure Boot key than the given ones; name its own"
        )
    certificates = [x509.load_pem_x509_certificate(pem) for pem in trusted]
    for name in ("uki.efi", "loader.efi"):
        authenticode.verify_pe((folder / name).read_bytes(), certificates)
    line = uki.read_sections((folder / "uki.efi").read_bytes()).get(".cmdline", b"").rstrip(b"\0").decode()
    if line.split()[:1] != [f"roothash={image.root_hash}"]:
        raise CheckFailed(f"the kernel in {folder} asks for another root than the manifest's; build the image again")


def _check_root(path: Path, image: manifest.Image) -> None:
    bad: list[str] = []
    anchors: dict[str, str] = {}
    with path.open("rb") as file:
        reader = erofsread.Reader(file)
        for node in reader.walk():
            bad += _faults(reader, node)
            if node.is_file and node.path.startswith(f"{ANCHORS}/"):
                anchors[node.path] = f"sha256:{hashlib.sha256(reader.content(node)).hexdigest()}"
    if bad:
        raise CheckFailed(f"{path} holds {', '.join(bad[:5])}{' and more' if len(bad) > 5 else ''}, which no image may")
    named = {f"{ANCHORS}/release.pub": image.trust_release, f"{ANCHORS}/config.pub": image.trust_config}
    if anchors != named:
        raise CheckFailed(f"{path} trusts other keys than its manifest says; build the image again")


def _faults(reader: erofsread.Reader, node: erofsread.Node) -> Iterator[str]:
    in_programs = node.path.split("/")[-2:-1] in (["bin"], ["sbin"])
    is_program = in_programs if node.is_link else node.is_file and bool(node.mode & 0o111)
    if is_program and prune.leftovers([node.path]):
        yield node.path
    if node.is_file and node.mode & (stat.S_ISUID | stat.S_ISGID):
        yield f"{node.path} (set-user-id)"
    if node.is_file and node.size <= _KEY_BYTES:
        content = reader.content(node)
        if content.startswith(b"-----BEGIN") and b"PRIVATE KEY-----" in content:
            yield f"{node.path} (a private key)"


def _check_disk(folder: Path, image: manifest.Image) -> None:
    with (folder / "disk.raw").open("rb") as disk:
        table = gpt.parse_head(disk.read(gpt.HEAD_BYTES))
        disk.seek(-gpt.TAIL_BYTES, 2)
        if gpt.parse_tail(disk.read(gpt.TAIL_BYTES)) != table:
            raise CheckFailed(f"the two partition tables of {folder / 'disk.raw'} differ; build the image again")
        halves = (image.root_hash[:32], image.root_hash[32:])
        for name, source, half in (("root-a", "root.erofs", halves[0]), ("verity-a", "root.verity", halves[1])):
            part = table.named(name)
            disk.seek(part.offset)
            if part.guid.replace("-", "") != half or not _starts_with(disk.read, folder / source):
                raise CheckFailed(f"partition {name} of {folder / 'disk.raw'} is not {source}; build the image again")


def _starts_with(read: Callable[[int], bytes], source: Path) -> bool:
    with source.open("rb") as file:
        while wanted := file.read(_CHUNK):
            if read(len(wanted)) != wanted:
                return False
    return True
