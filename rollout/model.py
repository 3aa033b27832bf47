"""What a rollout is about: nodes, pods, pools, waves and plans, as frozen values.

Nothing here knows a clock, a file or a network. Times are seconds since the epoch, durations are seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sealwave.rollout.errors import BadInput, DigestMalformed

Json = dict[str, Any]

OWNER_ANNOTATION = "sealwave.dev/owner"
FENCE_ANNOTATION = "sealwave.dev/fence"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_FENCE_DIGITS = 18
# A pool's name is also the name of its Journal object, hence a DNS label.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


# Characters of what machines, webhooks and budgets say that are kept: no text may fill the journal's object.
SAYING_CHARS = 500


def cut(text: str) -> str:
    """As much of `text` as is kept in the journal."""
    return text if len(text) <= SAYING_CHARS else text[: SAYING_CHARS - 3] + "..."


def require_digest(digest: str) -> str:
    """Return `digest` when it is well formed, else raise DigestMalformed."""
    if not _DIGEST.fullmatch(digest):
        raise DigestMalformed(digest)
    return digest


class NodeState(StrEnum):
    """What is true of a node while a rollout is about it."""

    Pending = "Pending"
    """Wanted on another image, in a wave that has not reached it; untouched, and not in the ledger."""
    Claimed = "Claimed"
    """In the ledger and otherwise untouched; the wanted image may be staged into the slot that does not run."""
    Cordoning = "Cordoning"
    """Staged, and about to be ours: cordon, owner and fence go on in one patch."""
    Quiescing = "Quiescing"
    """Cordoned by us; what runs on it and how its workloads stand is being written down before anything is moved."""
    Evicting = "Evicting"
    """Cordoned; its pods are asked to leave through the eviction API, as their disruption budgets allow."""
    Replacing = "Replacing"
    """Empty but for pods that belong to it; the staged image is made the next boot and the node is rebooted."""
    Booting = "Booting"
    """Told to reboot; its machine API has not answered from a new boot yet."""
    Verifying = "Verifying"
    """Runs the wanted image, still cordoned and not committed; the gates decide."""
    Releasing = "Releasing"
    """Committed; it is uncordoned and its workloads are watched until they are back."""
    Done = "Done"
    """Runs the wanted image, committed, uncordoned, workloads back; out of the ledger."""
    Unwinding = "Unwinding"
    """Going back: an activation is taken back, an uncommitted image is left, the cordon is lifted."""
    Deferred = "Deferred"
    """On its old image, uncordoned, as if never touched; the reason says what kept it from its turn."""
    Failed = "Failed"
    """Quarantined: cordoned with our owner mark and named in the ledger, until an image is right on it."""


IN_FLIGHT = frozenset(
    {
        NodeState.Claimed,
        NodeState.Cordoning,
        NodeState.Quiescing,
        NodeState.Evicting,
        NodeState.Replacing,
        NodeState.Booting,
        NodeState.Verifying,
        NodeState.Releasing,
        NodeState.Unwinding,
    }
)


class Phase(StrEnum):
    """What is true of a rollout as a whole."""

    Idle = "Idle"
    """No rollout was ever begun in this pool."""
    Running = "Running"
    """Nodes are being replaced."""
    Holding = "Holding"
    """Nothing new starts; what is in flight comes to a safe place; the next run resumes."""
    Halted = "Halted"
    """A node failed: nothing new starts, what was not committed goes back, the image is refused."""
    Converged = "Converged"
    """Every node of the pool runs the wanted image."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node as the API server tells it, reduced to what a rollout needs."""

    name: str
    uid: str = ""
    resource_version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    unschedulable: bool = False
    ready: bool | None = None  # None: the control plane lost sight of the kubelet ("Unknown").
    ready_detail: str = ""
    boot_id: str = ""  # As the kubelet registered it; tells whether `ready` speaks about the boot that runs now.
    address: str = ""  # InternalIP.
    control_plane: bool = False

    @property
    def owner(self) -> str:
        """Who cordoned it, by our annotation; empty when nobody of ours did."""
        return self.annotations.get(OWNER_ANNOTATION, "")

    @property
    def fence(self) -> int:
        """The fence of the driver that touched it last; -1 when there is none."""
        text = self.annotations.get(FENCE_ANNOTATION, "")
        # A longer number than any fence can become is somebody's text.
        return int(text) if text.isdecimal() and len(text) <= _FENCE_DIGITS else -1

    def matches(self, selector: Mapping[str, str]) -> bool:
        """Whether it carries every label of `selector`."""
        return all(self.labels.get(key) == value for key, value in selector.items())


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod on a node, reduced to what a drain needs."""

    namespace: str
    name: str
    uid: str
    node: str
    controller: str = ""  # Kind of the controlling owner; empty for a naked pod.
    workload: str = ""  # "namespace/Kind/name" of what brings it back (a ReplicaSet counts as its Deployment).
    mirror: bool = False
    static_uid: str = ""  # Of a mirror pod: the UID that its static pod runs under.
    empty_dir: bool = False
    finished: bool = False  # Succeeded or Failed: nothing of it runs any more.
    terminating: bool = False
    ready: bool = False


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A Deployment or StatefulSet and how it stands."""

    key: str  # "namespace/Kind/name"
    desired: int
    ready: int


@dataclass(frozen=True)
class Budget:
    """How many nodes of a pool may be away at once, broken ones included, by whomever."""

    nodes: int

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise BadInput(f"budget.nodes is {self.nodes}: a pool can be rolled only when at least 1 node may be away")


@dataclass(frozen=True, kw_only=True)
class DrainPolicy:
    """What may be evicted beyond pods that a controller brings back; declared, never guessed."""

    naked: bool = False  # Pods without a controller: nobody starts them again.
    empty_dir: bool = True  # Pods whose emptyDir volumes are lost with them.


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """Seconds that a node may stay in a state, and windows of the gates.

    The gates' window has to be shorter than the machine's own commit window, or the machine goes back by itself first.
    """

    stage: float = 1800.0
    cordon: float = 120.0
    evict: float = 3600.0
    replace: float = 300.0
    boot: float = 900.0
    verify: float = 420.0
    workload: float = 600.0
    unwind: float = 900.0
    attempts: int = 3  # Boots of the wanted image that may expire because nobody was there to commit.


@dataclass(frozen=True, kw_only=True)
class PoolSpec:
    """What is wanted of a set of nodes.

    ``selector`` names labels of the user; ``source`` is the base address of the image folder; ``waves`` counts nodes
    per wave and its last count repeats; ``machines`` maps a node to its machine API where that is not
    ``https://<InternalIP>:9443``.
    """

    name: str
    selector: Mapping[str, str]
    digest: str
    source: str
    waves: tuple[int, ...] = (1, 2)
    budget: Budget | None = None  # Default: as many as the largest wave.
    drain: DrainPolicy = DrainPolicy()
    deadlines: Deadlines = Deadlines()
    machines: Mapping[str, str] = field(default_factory=dict)
    control_plane: tuple[str, ...] = ()  # Control-plane nodes that are meant to be rolled.

    def __post_init__(self) -> None:
        require_digest(self.digest)
        if not _NAME.fullmatch(self.name):
            raise BadInput(f"pool name {self.name!r}: use lower-case letters, digits and dashes, 63 at most")
        if not self.selector:
            raise BadInput(f"pool {self.name}: the selector is empty and would take every node: name a label")
        if not self.waves or min(self.waves) < 1:
            raise BadInput(f"pool {self.name}: waves {list(self.waves)}: give at least one count, each 1 or more")
        if not self.source.startswith("https://"):
            raise BadInput(f"pool {self.name}: source {self.source!r}: nodes fetch images over https:// only")
        for node, url in self.machines.items():
            if not url.startswith("https://"):
                raise BadInput(f"pool {self.name}: machines.{node} is {url!r}: machines are asked over https:// only")

    @property
    def owner(self) -> str:
        """The owner mark that this pool's driver puts on nodes."""
        return f"sealwave/{self.name}"

    @property
    def allowed_away(self) -> int:
        """How many nodes may be away at once."""
        return self.budget.nodes if self.budget else max(self.waves)

    def machine_url(self, node: Node) -> str:
        """Where `node`'s machine API is reached; empty when nobody knows."""
        url = self.machines.get(node.name, "")
        if url or not node.address:
            return url
        host = f"[{node.address}]" if ":" in node.address else node.address
        return f"https://{host}:9443"


@dataclass(frozen=True)
class Wave:
    """Nodes that are replaced side by side; the next wave waits for all of them."""

    number: int  # From 1.
    nodes: tuple[str, ...]

    def to_json(self) -> Json:
        """As preview and report show it."""
        return {"wave": self.number, "nodes": list(self.nodes)}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which nodes are replaced in which order, which are left alone, and why."""

    pool: str
    digest: str
    waves: tuple[Wave, ...]
    right: tuple[str, ...] = ()  # Already run the wanted image, committed: not touched.
    reasons: Mapping[str, str] = field(default_factory=dict)  # node -> why it has its place

    @property
    def empty(self) -> bool:
        """Whether nothing is to be done."""
        return not self.waves

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every node that is touched, in order."""
        return tuple(name for wave in self.waves for name in wave.nodes)

    def to_json(self) -> Json:
        """As preview and report show it."""
        return {
            "pool": self.pool,
            "digest": self.digest,
            "waves": [wave.to_json() for wave in self.waves],
            "right": list(self.right),
            "reasons": dict(sorted(self.reasons.items())),
        }
