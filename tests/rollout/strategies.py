"""Hypothesis strategies for the rollout's values, in one place. Small pools of names and digests make things meet."""

from __future__ import annotations

from hypothesis import strategies as st

from sealwave.rollout.ledger import Ledger, PoolEntry, Quarantine, Refusal
from sealwave.rollout.machine import CheckResult, MachineStatus, Operation
from sealwave.rollout.model import FENCE_ANNOTATION, OWNER_ANNOTATION, Node, NodeState, Phase, Pod, Workload
from sealwave.rollout.observation import Observation, Sight
from sealwave.rollout.state import Backoff, NodeRecord, RolloutState
from tests.rollout.world import LABELS, V1, V2, V3, make_pool

NAMES = ("node-1", "node-2", "node-3")
BOOTS = ("boot-1", "boot-2")
NOW = 1_000.0

names = st.sampled_from(NAMES)
digests = st.sampled_from((V1, V2, V3))
maybe_digests = st.none() | digests
times = st.sampled_from((0.0, 900.0, 990.0, 1_000.0))
texts = st.sampled_from(("", "Stage (no_space): full", "a reason"))
keys = st.sampled_from(("Stage", "Cordon", "Uncordon", "Activate", "Evict:uid-a", "Rollback"))


@st.composite
def records(draw: st.DrawFn, name: str = "node-1") -> NodeRecord:
    """Any record, also ones that no driver would write."""
    return NodeRecord(
        name=name,
        wave=draw(st.integers(1, 3)),
        target=draw(digests),
        state=draw(st.sampled_from(NodeState)),
        since=draw(times),
        watched=draw(times),
        reason=draw(texts),
        problem=draw(texts),
        noted=draw(times),
        stuck=draw(st.booleans()),
        digest_before=draw(maybe_digests),
        boot_before=draw(st.sampled_from(("", *BOOTS))),
        boot=draw(st.sampled_from(("", *BOOTS))),
        operation=draw(st.sampled_from(("", "op-1"))),
        cordoned=draw(st.booleans()),
        told=draw(st.booleans()),
        bad=draw(st.booleans()),
        unwind=draw(st.sampled_from((NodeState.Pending, NodeState.Deferred, NodeState.Failed))),
        attempts=draw(st.integers(0, 3)),
        stage_tries=draw(st.integers(0, 3)),
        released=draw(times),
        before=draw(st.dictionaries(st.just("default/Deployment/web"), st.integers(0, 3))),
        backoff=draw(st.dictionaries(keys, st.builds(Backoff, st.integers(1, 9), times), max_size=2)),
        refusals=draw(st.lists(texts, max_size=2).map(tuple)),
        evicted=draw(st.lists(texts, max_size=2).map(tuple)),
        gates=draw(st.dictionaries(st.just("ready"), texts)),
        times=draw(st.dictionaries(st.sampled_from([str(state) for state in NodeState]), times, max_size=3)),
        secure_boot=draw(st.none() | st.booleans()),
        digest=draw(maybe_digests),
    )


@st.composite
def states(draw: st.DrawFn) -> RolloutState:
    """Any rollout."""
    nodes = {name: draw(records(name)) for name in draw(st.sets(names))}
    return RolloutState(
        pool="workers",
        number=draw(st.integers(0, 5)),
        digest=draw(digests),
        source="https://images.example.com/x",
        phase=draw(st.sampled_from(Phase)),
        fence=draw(st.integers(0, 3)),
        blocked=draw(times),
        reasons=draw(st.lists(texts, max_size=2, unique=True).map(tuple)),
        nodes=nodes,
    )


@st.composite
def nodes(draw: st.DrawFn, name: str) -> Node:
    """Any node."""
    marks = {OWNER_ANNOTATION: ("sealwave/workers", "sealwave/other", "x"), FENCE_ANNOTATION: ("0", "2", "9", "no")}
    annotations = {key: draw(st.sampled_from(values)) for key, values in marks.items() if draw(st.booleans())}
    return Node(
        name=name,
        resource_version="1",
        labels=draw(st.sampled_from((LABELS, {}))),
        annotations=annotations,
        unschedulable=draw(st.booleans()),
        ready=draw(st.none() | st.booleans()),
        boot_id=draw(st.sampled_from(("", *BOOTS))),
        address=draw(st.sampled_from(("", "192.0.2.1"))),
    )


@st.composite
def machines(draw: st.DrawFn, name: str) -> MachineStatus:
    """Any answer of a machine."""
    return MachineStatus(
        machine=name,
        boot_id=draw(st.sampled_from(BOOTS)),
        digest=draw(maybe_digests),
        committed=draw(st.booleans()),
        activated=draw(maybe_digests),
        staged=draw(maybe_digests),
        secure_boot=draw(st.booleans()),
        fence=draw(st.integers(0, 4)),
        kubelet_active=draw(st.booleans()),
        boot_reason=draw(st.sampled_from(("normal", "first-boot", "activated", "rolled-back", "window-expired"))),
    )


@st.composite
def pods(draw: st.DrawFn, node: str) -> Pod:
    """Any pod."""
    uid = draw(st.sampled_from(("uid-a", "uid-b")))
    return Pod(
        namespace="default",
        name=uid,
        uid=uid,
        node=node,
        controller=draw(st.sampled_from(("", "ReplicaSet", "DaemonSet"))),
        workload=draw(st.sampled_from(("", "default/Deployment/web"))),
        mirror=draw(st.booleans()),
        empty_dir=draw(st.booleans()),
        finished=draw(st.booleans()),
        terminating=draw(st.booleans()),
    )


@st.composite
def sights(draw: st.DrawFn, name: str) -> Sight:
    """Any sight of a node, also of one that is gone or silent."""
    operations = st.builds(
        Operation,
        id=st.just("op-1"),
        kind=st.just("stage"),
        state=st.sampled_from(("running", "succeeded", "failed")),
        code=st.sampled_from(("", "no_space", "source_unavailable")),
    )
    return Sight(
        node=draw(st.none() | nodes(name)),
        machine=draw(st.none() | machines(name)),
        problem=draw(texts),
        operation=draw(st.none() | operations),
        checks=draw(st.none() | st.builds(CheckResult, passed=st.booleans())),
        pods=draw(st.none() | st.lists(pods(name), max_size=2).map(tuple)),
    )


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    """Any ledger."""
    claims = st.sets(names).map(lambda found: tuple(sorted(found)))
    held = {name: PoolEntry(fence=draw(st.integers(0, 3)), claims=draw(claims)) for name in ("workers", "other")}
    refusal = Refusal(digest=V2, reason="r", when=1.0, who="w", pool="workers")
    kept = Quarantine(node="node-1", pool="workers", digest=V2, reason="r", when=1.0)
    return Ledger(
        pools=held,
        refused=draw(st.sampled_from(({}, {V2: refusal}))),
        quarantined=draw(st.sampled_from(({}, {"node-1": kept}))),
    )


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    """Any observation."""
    web = Workload(key="default/Deployment/web", desired=3, ready=draw(st.integers(0, 3)))
    return Observation(
        pool=make_pool(draw(digests)),
        sights={name: draw(sights(name)) for name in draw(st.sets(names))},
        ledger=draw(ledgers()),
        workloads=draw(st.none() | st.sampled_from(({}, {web.key: web}))),
        stopping=draw(st.booleans()),
        previous=draw(st.none() | times),
    )
