"""Where a journal is kept: a Protocol and its two implementations, a cluster object and a file.

Both hold the same lines and pass the same tests. A store appends only to the end that its reader saw: who lost a race
gets Conflict and has to read again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sealwave.rollout.cluster import Cluster
from sealwave.rollout.errors import Conflict, JournalBroken, RolloutError
from sealwave.rollout.journal import Chain, Entry, Record, line_hash, parse, replay, verify
from sealwave.rollout.model import Json

# etcd refuses objects above 1.5 MiB; half of that leaves room for one pass of a large wave and for a checkpoint.
COMPACT_BYTES = 512 * 1024
KIND = "Journal"


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A journal as read and verified: its records since the last checkpoint, its end, and what to write against."""

    records: tuple[Record, ...]
    chain: Chain
    version: str  # resourceVersion, or the length of the file; empty when there is none yet


class JournalStore(Protocol):
    """Keeps one pool's lines."""

    def load(self) -> Loaded:
        """Read and verify everything. Raises JournalBroken or JournalTooNew."""

    def append(self, loaded: Loaded, entries: Sequence[Entry], *, at: float, fence: int) -> Loaded:
        """Add `entries` behind what `loaded` saw, durably, in one write. Raises Conflict when that is not the end."""


class ObjectJournal:
    """The journal of record: one capped object in the cluster, compacted into a checkpoint when it grows."""

    def __init__(self, cluster: Cluster, pool: str, *, compact_bytes: int = COMPACT_BYTES) -> None:
        self._cluster, self._pool, self._limit = cluster, pool, compact_bytes

    def load(self) -> Loaded:
        """Read and verify the object; an absent one is an empty journal."""
        stored = self._cluster.read_object(KIND, self._pool)
        if stored is None:
            return Loaded(records=(), chain=Chain(), version="")
        lines, head = stored.spec.get("records", []), stored.spec.get("head", "")
        records = verify(lines, journal=self._pool, head=head)
        if not records and head:
            raise JournalBroken(self._pool, int(stored.spec.get("count", 0)), "and all before it are missing")
        chain = Chain(records[-1].seq + 1, records[-1].hash) if records else Chain()
        if int(stored.spec.get("count", chain.count)) != chain.count:
            raise JournalBroken(self._pool, chain.count, "and all behind it are missing")
        return Loaded(records=records, chain=chain, version=stored.resource_version)

    def append(self, loaded: Loaded, entries: Sequence[Entry], *, at: float, fence: int) -> Loaded:
        """Compare-and-swap on the object's resourceVersion."""
        chain, added = loaded.chain.extend(entries, at=at, fence=fence)
        records = (*loaded.records, *added)
        if sum(len(record.line) for record in records) > self._limit:
            state = replay(self._pool, records)
            chain, checkpoint = chain.extend([Entry(kind="checkpoint", data=state.to_json())], at=at, fence=fence)
            records = checkpoint
        spec: Json = {"head": chain.head, "count": chain.count, "records": [record.line for record in records]}
        stored = self._cluster.write_object(KIND, self._pool, spec, resource_version=loaded.version)
        return Loaded(records=records, chain=chain, version=stored.resource_version)


class FileJournal:
    """A journal in a file, for the simulator and for people to keep: ``HASH LINE`` per record, flushed to disk.

    A last line without its newline was torn by a crash and is cut off. A whole line that does not fit its hash was
    changed.
    """

    def __init__(self, path: Path, pool: str) -> None:
        self._path, self._pool = path, pool

    def load(self) -> Loaded:
        """Read, repair a torn tail, and verify."""
        if not self._path.exists():
            return Loaded(records=(), chain=Chain(), version="")
        content = self._path.read_bytes()
        end = content.rfind(b"\n") + 1
        if end < len(content):
            self._cut(end)
        lines = []
        for number, raw in enumerate(content[:end].decode(errors="replace").splitlines()):
            digest, _, line = raw.partition(" ")
            if line_hash(line) != digest:
                raise JournalBroken(self._pool, _number(line, number), "was changed: its line names another hash")
            lines.append(line)
        records = verify(lines, journal=self._pool)
        chain = Chain(records[-1].seq + 1, records[-1].hash) if records else Chain()
        return Loaded(records=records, chain=chain, version=str(end))

    def append(self, loaded: Loaded, entries: Sequence[Entry], *, at: float, fence: int) -> Loaded:
        """Write behind the end that was read; the file and, when it is new, its folder are flushed."""
        chain, added = loaded.chain.extend(entries, at=at, fence=fence)
        text = "".join(f"{record.hash} {record.line}\n" for record in added).encode()
        new = not self._path.exists()
        if (0 if new else self._path.stat().st_size) != int(loaded.version or 0):
            raise Conflict(f"journal {self._path.name}")
        with self._path.open("ab") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if new:
            _sync_folder(self._path.parent)
        version = str(int(loaded.version or 0) + len(text))
        return Loaded(records=(*loaded.records, *added), chain=chain, version=version)

    def _cut(self, end: int) -> None:
        with self._path.open("r+b") as file:
            file.truncate(end)
            os.fsync(file.fileno())


def _number(line: str, position: int) -> int:
    """The number that a changed line gives itself, or its place when it cannot be read."""
    try:
        return parse(line, journal="", position=position).seq
    except RolloutError:
        return position


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
