"""What a rollout tells its caller: progress while it runs, an outcome at its end, and how a pool stands.

Frozen values that turn into JSON for terminal, provider and report; nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from sealwave.rollout.model import Json, NodeState, Phase

Result = Literal["converged", "halted", "held"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One thing that happened; ``text`` is a whole line for a person, the other fields are the same as data.

    ``kind`` is one of: begin, resume, state, effect, refused, gate, phase, note.
    """

    at: float  # seconds since the epoch
    kind: str
    text: str
    node: str = ""
    state: NodeState | None = None
    wave: int = 0
    fraction: float | None = None  # of what is going on now (staging), 0 to 1


@dataclass(frozen=True, kw_only=True)
class EvictionTally:
    """What became of the requests to evict a node's pods."""

    granted: int = 0
    refused: int = 0  # 429: a disruption budget said not now
    refusals: tuple[str, ...] = ()  # the budgets' own words, each once
    pods: tuple[str, ...] = ()  # "namespace/name" of every pod that was evicted


@dataclass(frozen=True, kw_only=True)
class NodeResult:
    """One node's way through a rollout, as journaled, and what the node said of itself at its end."""

    node: str
    wave: int
    state: NodeState
    reason: str = ""
    digest_before: str | None = None
    digest: str | None = None
    boot_before: str = ""
    boot: str = ""
    secure_boot: bool | None = None
    root_hash: str = ""
    times: Mapping[str, float] = field(default_factory=dict)  # state -> seconds spent in it
    evictions: EvictionTally = EvictionTally()
    gates: Mapping[str, str] = field(default_factory=dict)  # gate -> its last evidence
    drift: tuple[str, ...] | None = None  # None: the node did not answer

    def to_json(self) -> Json:
        """As the report stores it."""
        return asdict(self) | {"state": str(self.state)}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run of the driver ended.

    ``converged``: every node is right. ``halted``: a node failed and the image is refused from now on. ``held``:
    nothing is lost, the next run resumes. ``summary`` is one paragraph for a person.
    """

    result: Result
    summary: str
    pool: str
    digest: str
    fence: int
    head: str  # hash of the journal's last record
    records: int  # how many records the journal ever had
    reasons: tuple[str, ...] = ()
    nodes: tuple[NodeResult, ...] = ()
    touched: bool = True  # False: everything was right already and no node was touched

    def to_json(self) -> Json:
        """As the report stores it."""
        return asdict(self) | {"nodes": [node.to_json() for node in self.nodes]}


@dataclass(frozen=True, kw_only=True)
class NodeStatus:
    """One node of a pool, as it is now."""

    node: str
    ready: bool | None
    cordoned: bool
    owner: str
    quarantined: str = ""  # why, or empty
    reachable: bool = False
    problem: str = ""  # why the machine did not answer
    digest: str | None = None
    committed: bool | None = None
    boot: str = ""
    secure_boot: bool | None = None
    root_hash: str = ""
    drift: tuple[str, ...] | None = None
    right: bool = False  # Runs the wanted image, committed; neither quarantined nor cordoned by this pool.

    def to_json(self) -> Json:
        """For ``rollout status --json``."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class PoolStatus:
    """How a pool stands, read live; ``warnings`` name what could not be read."""

    pool: str
    digest: str
    phase: Phase
    nodes: tuple[NodeStatus, ...]
    refused: Mapping[str, str] = field(default_factory=dict)  # digest -> reason
    fence: int = 0
    head: str = ""
    records: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        """Whether every node was read and is as wanted."""
        return bool(self.nodes) and all(node.right for node in self.nodes)

    def to_json(self) -> Json:
        """For ``rollout status --json``."""
        return asdict(self) | {"right": self.right}
