"""What the report says, read from the cluster's journal and from the nodes themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sealwave.infra.errors import StepFailed
from sealwave.infra.lab.pipeline import BuiltImage
from sealwave.infra.progress import StepTime
from sealwave.infra.provider.poolspec import spec_of
from sealwave.rollout.access import connect
from sealwave.rollout.journal import Record, replay
from sealwave.rollout.journal_store import ObjectJournal
from sealwave.rollout.outcome import Outcome, PoolStatus
from sealwave.rollout.summary import outcome
from sealwave.rollout.view import status

__all__ = ["Report", "Rollout", "Span", "pool_status", "read_rollout", "spans"]

# Seconds for one answer of a machine that emulation may slow down.
LOOK_LIMIT = 15.0


@dataclass(frozen=True)
class Span:
    """A node was in a state from one time to another (seconds since the epoch)."""

    node: str
    state: str
    begin: float
    end: float


@dataclass(frozen=True)
class Rollout:
    """One `pulumi up` that was meant to touch nodes: how Pulumi ended and what the journal and the nodes say."""

    title: str
    exit_status: int
    seconds: float
    log: str
    outcome: Outcome
    timeline: tuple[Span, ...]

    def to_json(self) -> dict[str, Any]:
        """As report.json holds it."""
        plain = {"title": self.title, "exitStatus": self.exit_status, "seconds": round(self.seconds, 1)}
        shown = {**plain, "log": self.log, "outcome": self.outcome.to_json()}
        return {**shown, "timeline": [asdict(span) for span in self.timeline]}


@dataclass
class Report:
    """Everything that the report is made of; filled as the steps pass."""

    started: float
    accelerator: str = ""
    images: dict[str, BuiltImage] = field(default_factory=dict)
    rollouts: list[Rollout] = field(default_factory=list)
    steps: list[StepTime] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    final: PoolStatus | None = None
    failed: str = ""

    def to_json(self) -> dict[str, Any]:
        """The report as data."""
        return {
            "apiVersion": "sealwave.dev/v1",
            "kind": "DemoReport",
            "startedAt": self.started,
            "seconds": round(sum(step.seconds for step in self.steps), 1),
            "accelerator": self.accelerator,
            "failed": self.failed,
            "steps": [{"title": step.title, "seconds": round(step.seconds, 1)} for step in self.steps],
            "images": [
                {"name": image.name, "version": image.version, "digest": image.digest, "number": image.release_number}
                for image in self.images.values()
            ],
            "notes": self.notes,
            "rollouts": [rollout.to_json() for rollout in self.rollouts],
            "final": None if self.final is None else self.final.to_json(),
        }


def pool_status(values: Mapping[str, Any], credentials: Path) -> PoolStatus:
    """How the pool stands now, asked with the observer's certificate."""
    return status(spec_of(values), connect(credentials, role="observer", timeout=LOOK_LIMIT))


def read_rollout(
    values: Mapping[str, Any], credentials: Path, *, title: str, exit_status: int, begun: float, ended: float, log: Path
) -> Rollout:
    """The rollout that ran between two times, from the journal in the cluster and the nodes' own words.

    Raises StepFailed when Pulumi failed before the rollout began: then there is none to tell of.
    """
    spec = spec_of(values)
    fleet = connect(credentials, role="observer", timeout=LOOK_LIMIT)
    journal = ObjectJournal(fleet.cluster, spec.name).load()
    state = replay(spec.name, journal.records)
    recent = [record for record in journal.records if record.at >= begun]
    if exit_status != 0 and not recent:
        raise StepFailed(title, f"pulumi ended with {exit_status} before the rollout began", log)
    return Rollout(
        title=title,
        exit_status=exit_status,
        seconds=ended - begun,
        log=log.name,
        outcome=outcome(spec, fleet, state, journal, touched=bool(recent)),
        timeline=spans(recent, ended),
    )


def spans(records: Iterable[Record], ended: float) -> tuple[Span, ...]:
    """When each node was in which state, from its `state` records in order; the last one lasts until `ended`."""
    open_spans: dict[str, tuple[str, float]] = {}
    found: list[Span] = []
    for record in records:
        if record.kind != "state":
            continue
        state = str(record.data["state"])
        before = open_spans.get(record.node)
        if before is not None and before[0] == state:
            continue
        if before is not None:
            found.append(Span(record.node, before[0], before[1], record.at))
        open_spans[record.node] = (state, record.at)
    found += [Span(node, state, begin, max(begin, ended)) for node, (state, begin) in open_spans.items()]
    return tuple(sorted(found, key=lambda span: (span.node, span.begin)))
