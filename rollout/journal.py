"""The journal's records: append-only and hash-chained. Pure; where they are kept is `journal_store`.

A record is one line of canonical JSON (sorted keys, no spaces, ASCII). It names the SHA-256 of the line before it, so
that a record that was changed, removed or moved is found and named. Lines are stored and hashed as they were written
and never written anew from what was parsed.

    begin       a rollout starts: data = its head and every node's record
    resume      a driver takes over with a new fence: data = the same
    state       a node's record is another one: data = the record
    head        the rollout's phase or reasons are other ones: data = the head
    intent      an effect will be performed: data = the effect
    done        it was performed: data = intent's number, the effect, its result
    release     a person released a refused image
    checkpoint  everything before this record in one state; ``prev`` is the old head
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sealwave.rollout.absorb import absorb
from sealwave.rollout.effects import Result as EffectResult
from sealwave.rollout.effects import effect_from_json
from sealwave.rollout.errors import JournalBroken, JournalTooNew
from sealwave.rollout.model import Json
from sealwave.rollout.state import NodeRecord, RolloutState

VERSION = 1
GENESIS = "0" * 64

_KINDS = frozenset({"begin", "resume", "state", "head", "intent", "done", "release", "checkpoint"})


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a driver wants recorded; the chain gives it number and predecessor."""

    kind: str
    node: str = ""
    data: Json


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line of the journal."""

    seq: int
    prev: str
    at: float
    fence: int
    kind: str
    node: str
    data: Json
    line: str  # As stored.

    @property
    def hash(self) -> str:
        """SHA-256 of the stored line, in hex."""
        return line_hash(self.line)


def canonical(body: Any) -> str:
    """One JSON text per value: sorted keys, no spaces, ASCII."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def line_hash(line: str) -> str:
    """SHA-256 of a stored line, in hex."""
    return hashlib.sha256(line.encode()).hexdigest()


@dataclass(frozen=True)
class Chain:
    """The end of a journal: the number and hash that the next record follows."""

    count: int = 0
    head: str = GENESIS

    def extend(self, entries: Iterable[Entry], *, at: float, fence: int) -> tuple[Chain, tuple[Record, ...]]:
        """Number and chain `entries`; the new end and the records."""
        chain, records = self, []
        for entry in entries:
            body = {
                "v": VERSION,
                "seq": chain.count,
                "prev": chain.head,
                "at": at,
                "fence": fence,
                "kind": entry.kind,
                "node": entry.node,
                "data": entry.data,
            }
            line = canonical(body)
            # What a reader will parse, not what the writer had in mind: replay is exact only from the stored form.
            record = parse(line, journal="new record", position=chain.count)
            records.append(record)
            chain = Chain(chain.count + 1, record.hash)
        return chain, tuple(records)


def parse(line: str, *, journal: str, position: int) -> Record:
    """Read one stored line; `position` names it when it cannot be read."""
    try:
        body = json.loads(line)
        version = body["v"]
        if version != VERSION:
            raise JournalTooNew(journal, position, version)
        record = Record(
            seq=int(body["seq"]),
            prev=str(body["prev"]),
            at=float(body["at"]),
            fence=int(body["fence"]),
            kind=str(body["kind"]),
            node=str(body["node"]),
            data=dict(body["data"]),
            line=line,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise JournalBroken(journal, position, f"cannot be read ({type(error).__name__}: {error})") from error
    if record.kind not in _KINDS:
        raise JournalTooNew(journal, record.seq, record.kind)
    return record


def verify(lines: Sequence[str], *, journal: str, head: str | None = None) -> tuple[Record, ...]:
    """Read `lines` and check every link; raise JournalBroken that names the record which was changed.

    The first line is record 0 or a checkpoint. `head` is the hash that the store keeps beside the lines.
    """
    records: list[Record] = []
    for position, line in enumerate(lines):
        record = parse(line, journal=journal, position=records[-1].seq + 1 if records else position)
        if not records:
            if record.kind != "checkpoint" and (record.seq != 0 or record.prev != GENESIS):
                raise JournalBroken(journal, record.seq, "is not the first one: records before it are missing")
        elif record.seq != records[-1].seq + 1:
            raise JournalBroken(journal, records[-1].seq + 1, "is missing")
        elif record.prev != records[-1].hash:
            raise JournalBroken(journal, records[-1].seq, "was changed: its successor names another hash")
        records.append(record)
    if head is not None and records and records[-1].hash != head:
        raise JournalBroken(journal, records[-1].seq, "was changed: the journal's head names another hash")
    return tuple(records)


def replay(pool: str, records: Iterable[Record]) -> RolloutState:
    """The state that the records tell, exactly as the driver that wrote them had it."""
    state = RolloutState(pool=pool)
    for record in records:
        try:
            state = apply(state, record)
        except (KeyError, ValueError, TypeError) as error:
            raise JournalBroken(pool, record.seq, f"cannot be applied ({type(error).__name__}: {error})") from error
    return state


def apply(state: RolloutState, record: Record) -> RolloutState:
    """`state` after `record`."""
    match record.kind:
        case "begin" | "resume" | "checkpoint":
            return RolloutState.from_json(record.data)
        case "head":
            return state.with_head(record.data)
        case "state":
            return state.with_node(NodeRecord.from_json(record.data))
        case "done":
            known = state.nodes.get(record.node)
            if known is None:
                return state
            effect = effect_from_json(record.data["effect"])
            return state.with_node(absorb(known, effect, EffectResult.from_json(record.data["result"]), record.at))
    return state


def changes(before: RolloutState, after: RolloutState) -> tuple[Entry, ...]:
    """The entries that lead from `before` to `after`: other nodes first, then the head."""
    entries = [
        Entry(kind="state", node=name, data=record.to_json())
        for name, record in after.nodes.items()
        if before.nodes.get(name) != record
    ]
    if replace(before, nodes={}) != replace(after, nodes={}):
        entries.append(Entry(kind="head", data=after.head_json()))
    return tuple(entries)
