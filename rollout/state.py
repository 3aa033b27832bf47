"""What the driver knows of a rollout: one record per node and the rollout's phase, frozen, and the same as JSON.

This is what the journal gives back when it is replayed; nothing that decides about a node is kept anywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sealwave.rollout.model import IN_FLIGHT, Json, NodeState, Phase


@dataclass(frozen=True)
class Backoff:
    """An effect that did not succeed: how often, and when it may be tried again."""

    tries: int
    until: float

    @staticmethod
    def after(earlier: Backoff | None, now: float) -> Backoff:
        """The next pause: 2, 4, 8, 16 and then 30 seconds."""
        tries = (earlier.tries if earlier else 0) + 1
        return Backoff(tries, now + min(2.0 ** min(tries, 5), 30.0))


@dataclass(frozen=True, kw_only=True)
class NodeRecord:
    """One node in a rollout. ``since`` and ``watched`` are seconds since the epoch.

    ``watched`` is the time from which a driver has looked at the node without a gap: deadlines and windows count from
    there, so that a driver that was away never mistakes its own absence for the node's failure.
    """

    name: str
    wave: int
    target: str
    state: NodeState = NodeState.Pending
    since: float = 0.0
    watched: float = 0.0
    reason: str = ""
    problem: str = ""  # The last thing that did not work in this state.
    noted: float = 0.0  # When a gate that holds was last written down; 0 before.
    stuck: bool = False  # Held past its deadline; the run may end with this node in flight.
    digest_before: str | None = None
    boot_before: str = ""
    boot: str = ""
    operation: str = ""
    cordoned: bool = False  # We put our cordon on it and have not lifted it.
    told: bool = False  # The machine accepted the reboot.
    bad: bool = False  # A gate failed with the wanted image on it.
    unwind: NodeState = NodeState.Pending  # Where Unwinding ends.
    attempts: int = 0  # Boots that ended without a commit.
    stage_tries: int = 0
    released: float = 0.0  # When the cordon was seen lifted; 0 before.
    before: Mapping[str, int] = field(default_factory=dict)  # workload -> ready replicas before the drain
    backoff: Mapping[str, Backoff] = field(default_factory=dict)
    granted: int = 0
    refused: int = 0
    refusals: tuple[str, ...] = ()
    evicted: tuple[str, ...] = ()
    gates: Mapping[str, str] = field(default_factory=dict)
    times: Mapping[str, float] = field(default_factory=dict)
    secure_boot: bool | None = None
    root_hash: str = ""
    digest: str | None = None  # What it ran when it was last seen to matter.

    @property
    def in_flight(self) -> bool:
        """Whether it is in the rollout's hands."""
        return self.state in IN_FLIGHT

    def to(self, state: NodeState, now: float, **changes: Any) -> NodeRecord:
        """The record in another state, with the time in the old one added up."""
        spent = round(self.times.get(str(self.state), 0.0) + max(0.0, now - self.since), 3)
        times = dict(self.times) if self.state is NodeState.Pending else {**self.times, str(self.state): spent}
        fresh: Json = {
            "times": times,
            "since": now,
            "watched": now,
            "problem": "",
            "noted": 0.0,
            "stuck": False,
            "backoff": {},
        }
        return replace(self, state=state, **{**fresh, **changes})

    def may(self, key: str, now: float) -> bool:
        """Whether the effect named `key` is not in a pause."""
        pause = self.backoff.get(key)
        return pause is None or now >= pause.until

    def to_json(self) -> Json:
        """As the journal stores it; values that are the default are left out."""
        out: Json = {}
        for name, default in _DEFAULTS.items():
            value = getattr(self, name)
            if value == default:
                continue
            if name == "backoff":
                value = {key: [pause.tries, pause.until] for key, pause in value.items()}
            elif isinstance(value, tuple):
                value = list(value)
            elif isinstance(value, Mapping):
                value = dict(value)
            elif isinstance(value, NodeState):
                value = str(value)
            out[name] = value
        return {"name": self.name, "wave": self.wave, "target": self.target, **out}

    @classmethod
    def from_json(cls, body: Json) -> NodeRecord:
        """The inverse of `to_json`; a field that this version does not know is refused with a TypeError."""
        known: dict[str, Any] = dict(body)
        for name in ("state", "unwind"):
            if name in known:
                known[name] = NodeState(known[name])
        for name in ("refusals", "evicted"):
            if name in known:
                known[name] = tuple(known[name])
        if "backoff" in known:
            known["backoff"] = {key: Backoff(*pause) for key, pause in known["backoff"].items()}
        return cls(**known)


_DEFAULTS: dict[str, Any] = {
    name: getattr(NodeRecord(name="", wave=0, target=""), name)
    for name in NodeRecord.__dataclass_fields__
    if name not in ("name", "wave", "target")
}


@dataclass(frozen=True, kw_only=True)
class RolloutState:
    """A pool's rollout: the wanted image, the fence it is driven with, and every node's record."""

    pool: str
    number: int = 0  # Counts the pool's rollouts.
    digest: str = ""
    source: str = ""
    phase: Phase = Phase.Idle
    fence: int = 0
    blocked: float = 0.0  # Since when nothing may start although something should; 0 when that is not so.
    reasons: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    nodes: Mapping[str, NodeRecord] = field(default_factory=dict)

    @property
    def in_flight(self) -> tuple[NodeRecord, ...]:
        """Nodes that are in the rollout's hands."""
        return tuple(record for record in self.nodes.values() if record.in_flight)

    @property
    def active(self) -> bool:
        """Whether this rollout can be resumed."""
        return self.phase in (Phase.Running, Phase.Holding)

    def with_node(self, record: NodeRecord) -> RolloutState:
        """The same rollout with one record replaced."""
        return replace(self, nodes={**self.nodes, record.name: record})

    def because(self, reason: str) -> RolloutState:
        """The same rollout with one more reason, each said once."""
        return self if reason in self.reasons else replace(self, reasons=(*self.reasons, reason))

    def head_json(self) -> Json:
        """Everything but the nodes."""
        return {
            "pool": self.pool,
            "number": self.number,
            "digest": self.digest,
            "source": self.source,
            "phase": str(self.phase),
            "fence": self.fence,
            "blocked": self.blocked,
            "reasons": list(self.reasons),
            "right": list(self.right),
        }

    def to_json(self) -> Json:
        """As a checkpoint stores it."""
        return {**self.head_json(), "nodes": [record.to_json() for record in self.nodes.values()]}

    def with_head(self, body: Json) -> RolloutState:
        """The same nodes under another head."""
        return replace(
            self,
            pool=body["pool"],
            number=body["number"],
            digest=body["digest"],
            source=body["source"],
            phase=Phase(body["phase"]),
            fence=body["fence"],
            blocked=body["blocked"],
            reasons=tuple(body["reasons"]),
            right=tuple(body["right"]),
        )

    @classmethod
    def from_json(cls, body: Json) -> RolloutState:
        """The inverse of `to_json`."""
        records = [NodeRecord.from_json(item) for item in body["nodes"]]
        return cls(pool=body["pool"], nodes={record.name: record for record in records}).with_head(body)
