"""Staging: an image from its host into the slot that does not run.

The steps, whose order is the safety:

1. Fetch the manifest, compare its SHA-256 with the wanted digest, verify the release key's signature, and see that
   the image is for this kind of machine and fits. Until here the slot is untouched.
2. Remove the slot's boot entry and flush that; remember that the slot's content is not to be believed.
3. Fetch the hash tree, verify all of it against the signed root hash, write it.
4. Copy what the running slot holds of the root, fetch the rest in pieces. Every 4 KiB block, wherever it came from, is
   compared with the tree before it is written.
5. Flush both, then give the partitions the UUIDs by which the boot finds them.
6. Write manifest and UKI to the ESP under names that are not booted, compare the UKI's SHA-256, flush.
7. Give the UKI its name: the slot can be booted from here on.

A cut at any point leaves either no boot entry (2 to 6) or a whole slot (before 2, after 7).
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sealwave.images.agent import esp
from sealwave.images.agent.errors import Code, Refused
from sealwave.images.agent.fetch import CHUNK, Source
from sealwave.images.agent.platform import Part, Platform
from sealwave.images.agent.release import MANIFEST_LIMIT, Release, read_manifest
from sealwave.images.agent.reuse import Held, Run, open_held, plan_runs
from sealwave.images.agent.slots import Slot
from sealwave.images.agent.verity import BLOCK_SIZE, DataBlocks, VerityError, read_tree
from sealwave.signing.errors import SigningError

__all__ = ["Progress", "disk_errors", "fetch_release", "write_slot"]

ARCHITECTURE = "amd64"
# Bytes of dirty pages after which the device is made to keep up: a node has little memory, and a flush at the very end
# would take the machine's disk away from its pods for its whole length.
_FLUSH_EVERY = 64 * 1024 * 1024

# Told the bytes done and the bytes to do; may raise to stop the work.
Progress = Callable[[int, int], None]


def fetch_release(source: Source, *, digest: str, key: bytes, platform: Platform, slot: Slot) -> Release:
    """Step 1: the verified manifest of the wanted image; raises Refused."""
    document = source.read("image.json", limit=MANIFEST_LIMIT)
    found = "sha256:" + hashlib.sha256(document).hexdigest()
    if found != digest:
        raise Refused(Code.DIGEST_MISMATCH, f"the source holds {found}, not {digest}; correct the source's address")
    envelope = source.read("image.json.dsse", limit=MANIFEST_LIMIT)
    try:
        release = read_manifest(document, envelope, key=key)
    except SigningError as error:
        raise Refused(Code.SIGNATURE_UNTRUSTED, f"{digest}: {error}") from error
    except ValueError as error:
        raise Refused(Code.CONTENT_MISMATCH, f"{digest}: its manifest is not understood ({error})") from error
    if release.arch != ARCHITECTURE:
        raise Refused(Code.CONTENT_MISMATCH, f"the image is for {release.arch} and this machine is {ARCHITECTURE}")
    for part, size in ((Part.ROOT, release.root.size), (Part.VERITY, release.verity.size)):
        capacity = platform.capacity(part, slot)
        if size > capacity:
            raise Refused(
                Code.IMAGE_TOO_LARGE, f"its {part.value} has {size} bytes and the slot holds {capacity}; trim the image"
            )
    return release


def write_slot(source: Source, release: Release, *, platform: Platform, slot: Slot, progress: Progress) -> None:
    """Steps 3 to 7; the caller did step 2. Raises Refused, and leaves the slot without a boot entry then."""
    total = release.verity.size + release.root.size + release.uki.size
    with disk_errors():
        blocks = _write_tree(source, release, platform.partition(Part.VERITY, slot))
        done = release.verity.size
        progress(done, total)
        root = platform.partition(Part.ROOT, slot)
        held = open_held(platform)
        _write_root(source, blocks, root, held, lambda written: progress(done + written, total))
        platform.name_slot(slot, release.stored.root_hash)
        _write_entry(source, release, platform.esp, slot)
        progress(total, total)


def _write_tree(source: Source, release: Release, target: Path) -> DataBlocks:
    tree = b"".join(source.stream("root.verity", size=release.verity.size))
    if hashlib.sha256(tree).hexdigest() != release.verity.sha256:
        raise Refused(Code.CONTENT_MISMATCH, "root.verity is not the file that the signed manifest names")
    try:
        superblock, blocks = read_tree(tree, release.stored.root_hash)
    except VerityError as error:
        raise Refused(Code.CONTENT_MISMATCH, f"root.verity: {error}") from error
    if superblock.data_blocks != release.data_blocks or release.root.size != release.data_blocks * BLOCK_SIZE:
        raise Refused(Code.CONTENT_MISMATCH, "root.erofs, root.verity and the signed manifest differ in size")
    descriptor = _open_for_writing(target)
    try:
        _write_all(descriptor, memoryview(tree), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return blocks


def _write_root(
    source: Source, blocks: DataBlocks, target: Path, held: Held | None, written: Callable[[int], None]
) -> None:
    descriptor = _open_for_writing(target)
    try:
        done = flushed = 0
        for first, run in _verified_runs(source, blocks, held):
            _write_all(descriptor, run, first * BLOCK_SIZE)
            done += len(run)
            if done - flushed >= _FLUSH_EVERY:
                os.fdatasync(descriptor)
                flushed = done
            written(done)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _verified_runs(source: Source, blocks: DataBlocks, held: Held | None) -> Iterator[tuple[int, memoryview]]:
    """Every block of the root, each once, with the index of the first one of its run."""
    for run in plan_runs(blocks, None if held is None else held.blocks):
        if run.source is not None and held is not None:
            copied = _copied(held, run, blocks)
            if copied is not None:
                yield run.first, copied
                continue
        at = run.first
        stream = source.stream("root.erofs", start=run.first * BLOCK_SIZE, size=run.count * BLOCK_SIZE)
        for piece in _whole_blocks(stream):
            try:
                blocks.check_run(at, piece)
            except VerityError as error:
                raise Refused(Code.CONTENT_MISMATCH, f"root.erofs: {error}") from error
            yield at, piece
            at += len(piece) // BLOCK_SIZE


def _copied(held: Held, run: Run, blocks: DataBlocks) -> memoryview | None:
    """The blocks of a copied run; None when the disk does not give back what was once written to it."""
    try:
        copied = memoryview(held.read(run))
        blocks.check_run(run.first, copied)
    except (OSError, VerityError):
        return None
    return copied if len(copied) == run.count * BLOCK_SIZE else None


def _whole_blocks(chunks: Iterator[bytes]) -> Iterator[memoryview]:
    """The same bytes in runs of whole blocks, at most a chunk each."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        if len(buffer) >= CHUNK:
            whole = len(buffer) - len(buffer) % BLOCK_SIZE
            run = bytes(memoryview(buffer)[:whole])
            del buffer[:whole]
            yield memoryview(run)
    if buffer:
        yield memoryview(bytes(buffer))


def _write_entry(source: Source, release: Release, folder: Path, slot: Slot) -> None:
    seen = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for chunk in source.stream("uki.efi", size=release.uki.size):
            seen.update(chunk)
            yield chunk

    temporary = esp.temporary_entry(folder, slot)
    try:
        esp.write_file(temporary, hashed())
        if seen.hexdigest() != release.uki.sha256:
            raise Refused(Code.CONTENT_MISMATCH, "uki.efi is not the file that the signed manifest names")
        esp.write_manifest(folder, slot, release.document, release.envelope)
        esp.publish_entry(folder, slot)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _open_for_writing(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CLOEXEC)


def _write_all(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        count = os.pwrite(descriptor, data, offset)
        data, offset = data[count:], offset + count


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn what the disk says into what the caller is told."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Refused(
                Code.NO_SPACE, "no space is left on this machine; the image is larger than the slot"
            ) from error
        raise Refused(Code.INTERNAL, f"the slot cannot be written ({error}); look at this machine's disk") from error
