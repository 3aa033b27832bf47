"""The end of a run, put together for its caller: what every node came to, and one paragraph for a person."""

from __future__ import annotations

from sealwave.rollout.access import Fleet
from sealwave.rollout.errors import ClusterError, MachineError
from sealwave.rollout.journal_store import Loaded
from sealwave.rollout.machine import MachineStatus
from sealwave.rollout.model import Node, NodeState, Phase, PoolSpec
from sealwave.rollout.observe import in_parallel
from sealwave.rollout.outcome import EvictionTally, NodeResult, Outcome, Result
from sealwave.rollout.state import NodeRecord, RolloutState


def outcome(pool: PoolSpec, fleet: Fleet, state: RolloutState, journal: Loaded, *, touched: bool = True) -> Outcome:
    """What a run that ended in `state` came to; asks every machine once more what it runs."""
    try:
        nodes = {node.name: node for node in fleet.cluster.nodes() if node.matches(pool.selector)}
    except ClusterError:
        nodes = {}
    names = sorted({*nodes, *state.nodes})
    records = state.nodes if touched or state.digest == pool.digest else {}
    spared = set(state.right) if touched else set(names)
    results = in_parallel(
        lambda name: _node(name, pool, fleet, nodes.get(name), records.get(name), spared=name in spared), names
    )
    result: Result = "converged"
    if touched and state.phase is not Phase.Converged:
        result = "halted" if state.phase is Phase.Halted else "held"
    return Outcome(
        result=result,
        summary=_summary(result, pool, state, results, touched=touched),
        pool=pool.name,
        digest=pool.digest,
        fence=state.fence,
        head=journal.chain.head,
        records=journal.chain.count,
        reasons=state.reasons,
        nodes=results,
        touched=touched,
    )


def _node(
    name: str, pool: PoolSpec, fleet: Fleet, node: Node | None, record: NodeRecord | None, *, spared: bool
) -> NodeResult:
    """One node's result; `spared` says that the plan found it right and left it alone."""
    status, drift = _ask(name, pool, fleet, node)
    right = spared or (status is not None and status.digest == pool.digest and status.committed)
    state = NodeState.Done if right else NodeState.Pending
    known = record or NodeRecord(name=name, wave=0, target=pool.digest, state=state)
    return NodeResult(
        node=name,
        wave=known.wave,
        state=known.state,
        reason=known.reason,
        digest_before=known.digest_before,
        digest=status.digest if status else known.digest,
        boot_before=known.boot_before,
        boot=status.boot_id if status else known.boot,
        secure_boot=status.secure_boot if status else known.secure_boot,
        root_hash=status.root_hash if status else known.root_hash,
        times=known.times,
        evictions=EvictionTally(
            granted=known.granted, refused=known.refused, refusals=known.refusals, pods=known.evicted
        ),
        gates=known.gates,
        drift=drift,
    )


def _ask(
    name: str, pool: PoolSpec, fleet: Fleet, node: Node | None
) -> tuple[MachineStatus | None, tuple[str, ...] | None]:
    url = pool.machine_url(node) if node else pool.machines.get(name, "")
    if not url:
        return None, None
    machine = fleet.machines.of(name, url)
    status: MachineStatus | None = None
    try:
        status = machine.status()
        return status, machine.drift()
    except MachineError:
        return status, None


def _summary(
    result: Result, pool: PoolSpec, state: RolloutState, nodes: tuple[NodeResult, ...], *, touched: bool
) -> str:
    image = pool.digest[:19]
    if not touched:
        return f"Pool {pool.name}: all {len(nodes)} nodes run {image} already; nothing was touched."
    done = [node.node for node in nodes if node.state is NodeState.Done]
    why = "; ".join(state.reasons) or "nothing could go on"
    if result == "converged":
        return f"Pool {pool.name}: all {len(done)} nodes run {image}."
    if result == "held":
        open_nodes = ", ".join(f"{node.node} ({node.state})" for node in nodes if node.state is not NodeState.Done)
        return (
            f"Pool {pool.name} is held at {len(done)} of {len(nodes)} nodes on {image}: {why}. "
            f"Not done: {open_nodes}. Nothing is lost; the next run resumes from the journal."
        )
    failed = [node.node for node in nodes if node.state is NodeState.Failed]
    untouched = [node.node for node in nodes if node.state is NodeState.Pending]
    back = ", ".join(
        f"{node.node} runs {(node.digest or 'unknown')[:19]} and is quarantined"
        for node in nodes
        if node.node in failed
    )
    left = f" Never touched: {', '.join(untouched)}." if untouched else ""
    return (
        f"Pool {pool.name} halted: image {image} failed and is refused from now on. {why}. {back}.{left} "
        f"Roll another image, or release this one with: sealwave rollout release-digest {pool.digest} --reason ..."
    )
