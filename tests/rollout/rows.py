"""One row of the table of transitions, and the values that its rows are made of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from sealwave.rollout.ledger import Ledger, PoolEntry, Quarantine, Refusal
from sealwave.rollout.machine import CheckResult, MachineStatus, Operation
from sealwave.rollout.model import FENCE_ANNOTATION, OWNER_ANNOTATION, Node, NodeState, Phase, Pod, Workload
from sealwave.rollout.observation import Observation, Sight
from sealwave.rollout.state import NodeRecord
from tests.rollout.world import LABELS, V1, V2, make_pool

NOW = 1_000.0
OURS = {OWNER_ANNOTATION: "sealwave/workers", FENCE_ANNOTATION: "2"}
FREE = Node(name="node-1", resource_version="7", labels=LABELS, ready=True, boot_id="boot-1", address="192.0.2.1")
HELD = replace(FREE, unschedulable=True, annotations=OURS)
THEIRS = replace(FREE, unschedulable=True)
ON_V1 = MachineStatus(machine="node-1", boot_id="boot-1", digest=V1, fence=2)
STAGED = replace(ON_V1, staged=V2)
ARMED = replace(STAGED, activated=V2)
TRIES_V2 = MachineStatus(
    machine="node-1", boot_id="boot-2", digest=V2, committed=False, staged=V1, fence=2, boot_reason="activated"
)
ON_V2 = replace(TRIES_V2, committed=True)
CAME_BACK = replace(ON_V1, boot_id="boot-3", staged=V2, boot_reason="window-expired")
READY_V2 = replace(HELD, boot_id="boot-2")
PASSED, FAILED = CheckResult(passed=True), CheckResult(passed=False, failures=("gpu: missing",))
WEB = "default/Deployment/web"


def record(state: NodeState, **changes: Any) -> NodeRecord:
    usual: dict[str, Any] = {"boot_before": "boot-1", "digest_before": V1, "since": NOW - 1, "watched": NOW - 1}
    if state in (NodeState.Quiescing, NodeState.Evicting, NodeState.Replacing, NodeState.Booting):
        usual |= {"cordoned": True}
    if state in (NodeState.Verifying, NodeState.Releasing):
        usual |= {"cordoned": True, "boot": "boot-2"}
    return NodeRecord(name="node-1", wave=1, target=V2, state=state, **{**usual, **changes})


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    before: NodeRecord
    node: Node | None
    machine: MachineStatus | None
    after: NodeState
    effects: tuple[str, ...] = ()
    phase: Phase = Phase.Running
    becomes: Phase | None = None
    stopping: bool = False
    pods: tuple[Pod, ...] | None = ()
    checks: CheckResult | None = PASSED
    operation: Operation | None = None
    workloads: dict[str, Workload] | None = field(default_factory=dict)
    ledger: dict[str, Any] = field(default_factory=dict)
    says: str = ""


def seen(row: Row) -> Observation:
    claims = row.ledger.get("claims", ("node-1",))
    other = PoolEntry(fence=1, claims=("node-1",)) if row.ledger.get("other") else PoolEntry()
    refusal = Refusal(digest=V2, reason="r", when=1.0, who="w", pool="workers")
    kept = Quarantine(node="node-1", pool="workers", digest=V2, reason="r", when=1.0)
    sight = Sight(
        node=row.node, machine=row.machine, operation=row.operation, checks=row.checks, pods=row.pods, problem="timeout"
    )
    return Observation(
        pool=make_pool(V2),
        sights={"node-1": sight},
        ledger=Ledger(
            pools={"workers": PoolEntry(fence=2, claims=claims), "other": other},
            quarantined={"node-1": kept} if row.ledger.get("kept") else {},
            refused={V2: refusal} if row.ledger.get("kept") else {},
        ),
        workloads=row.workloads,
        stopping=row.stopping,
        previous=NOW - 1,
    )
