"""The table of transitions: a node's record and what is seen, the state and the effects that follow."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from sealwave.rollout.ledger import Ledger, PoolEntry, Quarantine, Refusal
from sealwave.rollout.machine import CheckResult, MachineStatus, Operation
from sealwave.rollout.model import FENCE_ANNOTATION, OWNER_ANNOTATION, Node, NodeState, Phase, Pod, Workload
from sealwave.rollout.observation import Observation, Sight
from sealwave.rollout.state import Backoff, NodeRecord
from tests.rollout.world import LABELS, V1, V2, V3, make_pool, pod

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


LATE = NOW - 500
WEB_POD = pod("web-1", "node-1", workload=WEB)
OP = Operation(id="op-1", kind="stage", state="running")
BAD_OP = replace(OP, state="failed", code="signature_untrusted", detail="not ours")
LOST_OP = replace(OP, state="failed", code="source_unavailable", detail="404")
S = NodeState

TABLE = [
    Row("not yet claimed", record(S.Pending), FREE, None, S.Pending, ("ClaimNode",), ledger={"claims": ()}),
    Row("claimed in the ledger", record(S.Pending), FREE, None, S.Claimed),
    Row("in another pool's hands", record(S.Pending), FREE, None, S.Pending, ledger={"claims": (), "other": True}),
    Row("nothing staged", record(S.Claimed), FREE, ON_V1, S.Claimed, ("Stage",)),
    Row("being staged", record(S.Claimed, operation="op-1"), FREE, ON_V1, S.Claimed, operation=OP),
    Row("staged", record(S.Claimed, operation="op-1"), FREE, STAGED, S.Cordoning),
    Row("stage lost", record(S.Claimed, operation="op-1"), FREE, ON_V1, S.Claimed, operation=LOST_OP),
    Row(
        "stage refused for good",
        record(S.Claimed, operation="op-1"),
        FREE,
        ON_V1,
        S.Unwinding,
        operation=BAD_OP,
        says="signature_untrusted",
    ),
    Row("machine silent", record(S.Claimed), FREE, None, S.Claimed),
    Row("machine silent for long", record(S.Claimed, watched=LATE), FREE, None, S.Unwinding, says="does not answer"),
    Row("cordoned by a person", record(S.Claimed), THEIRS, ON_V1, S.Unwinding, says="theirs"),
    Row("right already", record(S.Claimed), FREE, ON_V2, S.Done, becomes=Phase.Converged),
    Row("right, but quarantined", record(S.Claimed), READY_V2, ON_V2, S.Cordoning),
    Row("another image is armed", record(S.Claimed), FREE, replace(ON_V1, activated=V3), S.Claimed, ("Rollback",)),
    Row("to be cordoned", record(S.Cordoning), FREE, STAGED, S.Cordoning, ("Cordon",)),
    Row("cordoned", record(S.Cordoning, cordoned=True), HELD, STAGED, S.Quiescing),
    Row("a person was quicker", record(S.Cordoning), THEIRS, STAGED, S.Unwinding, says="theirs"),
    Row(
        "noted",
        record(S.Quiescing),
        HELD,
        STAGED,
        S.Evicting,
        pods=(WEB_POD,),
        workloads={WEB: Workload(key=WEB, desired=3, ready=2)},
    ),
    Row("workloads not known", record(S.Quiescing), HELD, STAGED, S.Quiescing, workloads=None),
    Row(
        "a naked pod",
        record(S.Quiescing),
        HELD,
        STAGED,
        S.Unwinding,
        pods=(pod("x", "node-1", controller=""),),
        says="no controller",
    ),
    Row("asks to leave", record(S.Evicting), HELD, STAGED, S.Evicting, ("Evict",), pods=(WEB_POD,)),
    Row(
        "waits after a refusal",
        record(S.Evicting, backoff={"Evict:uid-web-1": Backoff(2, NOW + 3)}),
        HELD,
        STAGED,
        S.Evicting,
        pods=(WEB_POD,),
    ),
    Row("leaving", record(S.Evicting), HELD, STAGED, S.Evicting, pods=(replace(WEB_POD, terminating=True),)),
    Row("pods not known", record(S.Evicting), HELD, STAGED, S.Evicting, pods=None),
    Row("drained", record(S.Evicting), HELD, STAGED, S.Replacing),
    Row(
        "never drained",
        record(S.Evicting, watched=LATE, problem="Evict (refused): budget web"),
        HELD,
        STAGED,
        S.Unwinding,
        pods=(WEB_POD,),
        says="default/web-1 still there; Evict \\(refused\\): budget web",
    ),
    Row("to be armed", record(S.Replacing), HELD, STAGED, S.Replacing, ("Activate",)),
    Row("armed", record(S.Replacing), HELD, ARMED, S.Replacing, ("Reboot",)),
    Row("a pod came", record(S.Replacing), HELD, ARMED, S.Evicting, pods=(WEB_POD,)),
    Row("told to reboot", record(S.Replacing, told=True), HELD, None, S.Booting),
    Row("slot overwritten", record(S.Replacing), HELD, ON_V1, S.Claimed),
    Row("rebooted before we knew", record(S.Replacing), HELD, TRIES_V2, S.Verifying),
    Row("away", record(S.Booting, told=True), HELD, None, S.Booting),
    Row("up with the wanted image", record(S.Booting, told=True), HELD, TRIES_V2, S.Verifying),
    Row("never up", record(S.Booting, watched=LATE), HELD, None, S.Unwinding, becomes=Phase.Halted, says="60 s after"),
    Row(
        "up with the old image by itself",
        record(S.Booting, told=True),
        HELD,
        replace(CAME_BACK, boot_reason="normal"),
        S.Unwinding,
        becomes=Phase.Halted,
        says="by itself",
    ),
    Row("its window ran out while we were away", record(S.Booting, told=True), HELD, CAME_BACK, S.Replacing),
    Row(
        "its window ran out again and again",
        record(S.Booting, told=True, attempts=2),
        HELD,
        CAME_BACK,
        S.Unwinding,
        becomes=Phase.Halted,
        says="ran out 3 times",
    ),
    Row("gates pass", record(S.Verifying), READY_V2, TRIES_V2, S.Verifying, ("Commit",)),
    Row("committed", record(S.Verifying), READY_V2, ON_V2, S.Releasing),
    Row("not registered from this boot", record(S.Verifying), HELD, TRIES_V2, S.Verifying),
    Row("checks not known", record(S.Verifying), READY_V2, TRIES_V2, S.Verifying, checks=None),
    Row(
        "checks not known for long",
        record(S.Verifying, watched=LATE),
        READY_V2,
        TRIES_V2,
        S.Verifying,
        checks=None,
        becomes=Phase.Holding,
    ),
    Row("checks not good", record(S.Verifying), READY_V2, TRIES_V2, S.Verifying, checks=FAILED),
    Row(
        "checks never good",
        record(S.Verifying, watched=LATE),
        READY_V2,
        TRIES_V2,
        S.Unwinding,
        checks=FAILED,
        becomes=Phase.Halted,
        says="gpu: missing",
    ),
    Row(
        "Secure Boot off",
        record(S.Verifying, watched=LATE),
        READY_V2,
        replace(TRIES_V2, secure_boot=False),
        S.Unwinding,
        becomes=Phase.Halted,
        says="Secure Boot is off",
    ),
    Row(
        "kubelet broken",
        record(S.Verifying, watched=LATE),
        replace(HELD, ready=None),
        replace(TRIES_V2, kubelet_active=False, kubelet_detail="exit code 1"),
        S.Unwinding,
        becomes=Phase.Halted,
        says=r"kubelet is not running \(exit code 1\)",
    ),
    Row("expired while verifying", record(S.Verifying), HELD, CAME_BACK, S.Replacing),
    Row("to be uncordoned", record(S.Releasing), READY_V2, ON_V2, S.Releasing, ("Uncordon",)),
    Row("mark removed", record(S.Releasing), replace(READY_V2, annotations={}), ON_V2, S.Releasing, ("Cordon",)),
    Row(
        "workload back",
        record(S.Releasing, released=NOW - 1, cordoned=False, before={WEB: 2}),
        replace(FREE, boot_id="boot-2"),
        ON_V2,
        S.Done,
        becomes=Phase.Converged,
        workloads={WEB: Workload(key=WEB, desired=3, ready=2)},
    ),
    Row(
        "workload scaled down meanwhile",
        record(S.Releasing, released=NOW - 1, cordoned=False, before={WEB: 3}),
        replace(FREE, boot_id="boot-2"),
        ON_V2,
        S.Done,
        becomes=Phase.Converged,
        workloads={WEB: Workload(key=WEB, desired=1, ready=1)},
    ),
    Row(
        "workload not back",
        record(S.Releasing, released=NOW - 1, cordoned=False, before={WEB: 2}),
        replace(FREE, boot_id="boot-2"),
        ON_V2,
        S.Releasing,
        workloads={WEB: Workload(key=WEB, desired=3, ready=1)},
    ),
    Row(
        "workload never back",
        record(S.Releasing, released=LATE, watched=LATE, cordoned=False, before={WEB: 2}),
        replace(FREE, boot_id="boot-2"),
        ON_V2,
        S.Failed,
        becomes=Phase.Halted,
        workloads={WEB: Workload(key=WEB, desired=3, ready=1)},
        says="1 of 2 pods ready",
    ),
    Row("stop before the reboot", record(S.Evicting), HELD, STAGED, S.Unwinding, phase=Phase.Holding, stopping=True),
    Row("stop after the reboot", record(S.Verifying), HELD, TRIES_V2, S.Verifying, phase=Phase.Holding, stopping=True),
    Row("halted before the reboot", record(S.Replacing), HELD, ARMED, S.Unwinding, phase=Phase.Halted),
    Row("halted before the commit", record(S.Verifying), READY_V2, TRIES_V2, S.Unwinding, phase=Phase.Halted),
    Row("halted after the commit", record(S.Verifying), READY_V2, ON_V2, S.Releasing, phase=Phase.Halted),
    Row("going back, armed", record(S.Unwinding), HELD, ARMED, S.Unwinding, ("Rollback",), phase=Phase.Holding),
    Row("going back, booted", record(S.Unwinding), HELD, TRIES_V2, S.Unwinding, ("Rollback",), phase=Phase.Holding),
    Row("back, cordoned", record(S.Unwinding), HELD, STAGED, S.Unwinding, ("Uncordon",), phase=Phase.Holding),
    Row("back, free", record(S.Unwinding), FREE, STAGED, S.Pending, ("UnclaimNode",), phase=Phase.Holding),
    Row(
        "back, bad",
        record(S.Unwinding, unwind=S.Failed, bad=True, cordoned=True),
        HELD,
        replace(STAGED, boot_id="boot-3"),
        S.Failed,
        ("UnclaimNode",),
        phase=Phase.Halted,
    ),
    Row(
        "to be quarantined",
        record(S.Failed, bad=True, reason="r"),
        HELD,
        STAGED,
        S.Failed,
        ("UnclaimNode", "QuarantineNode", "RefuseDigest"),
        phase=Phase.Halted,
    ),
    Row(
        "quarantined",
        record(S.Failed, bad=True, reason="r"),
        HELD,
        STAGED,
        S.Failed,
        phase=Phase.Halted,
        ledger={"claims": (), "kept": True},
    ),
    Row(
        "a quarantine that is over",
        record(S.Done),
        FREE,
        None,
        S.Done,
        ("UnclaimNode", "LiftQuarantine"),
        phase=Phase.Converged,
        ledger={"kept": True},
    ),
    Row(
        "refused in another pool",
        record(S.Claimed),
        FREE,
        ON_V1,
        S.Claimed,
        ("Stage",),
        becomes=Phase.Halted,
        ledger={"kept": True},
    ),
    Row("older fence on the machine", record(S.Evicting), HELD, replace(STAGED, fence=1), S.Evicting, ("RaiseFence",)),
    Row(
        "older fence on the node",
        record(S.Evicting),
        replace(HELD, annotations={**OURS, FENCE_ANNOTATION: "1"}),
        STAGED,
        S.Evicting,
        ("Cordon",),
    ),
    Row("uncordoned under us", record(S.Evicting), FREE, STAGED, S.Evicting, ("Cordon",)),
]


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
