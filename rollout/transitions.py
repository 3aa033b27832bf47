"""One node's next state, by what is observed. Pure; `step` calls `advance` for every node that is in flight.

Rules:
1. Each function handles one state and returns the record and the effects that it wants now; it moves one state at most.
2. Before the image is activated every way out leads through Unwinding to an uncordoned node on its old image.
3. Commit comes before uncordon, and the gates before commit.
4. Deadlines count from `watched`; what is merely not known past a deadline makes the node ``stuck``, never failed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sealwave.rollout import drain
from sealwave.rollout.effects import (
    Activate,
    Commit,
    Cordon,
    Effect,
    Evict,
    QuarantineNode,
    Reboot,
    RefuseDigest,
    Rollback,
    Stage,
    Uncordon,
)
from sealwave.rollout.gates import Judgement, Verdict, judge, node_gates, node_ready, workload_gates
from sealwave.rollout.machine import MachineStatus
from sealwave.rollout.model import Node, NodeState
from sealwave.rollout.observation import Observation, Sight
from sealwave.rollout.state import NodeRecord

Move = tuple[NodeRecord, tuple[Effect, ...]]

# Stage failures that trying again cannot cure.
_HOPELESS = frozenset({"signature_untrusted", "digest_mismatch", "image_too_large", "no_space", "bad_request"})
# Failed stages of one node before it is given up for this run.
_STAGE_TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a node's transition knows beyond the node itself."""

    seen: Observation
    now: float
    source: str
    retreat: str = ""  # Why nothing may go forward before its commit (halted, stopping, another image wanted).
    retreat_booted: bool = False  # Whether that holds for a booted and not committed image too.

    def late(self, record: NodeRecord, deadline: float) -> bool:
        """Whether `record` has been in its state, watched, for `deadline` seconds."""
        return self.now - record.watched >= deadline


def advance(record: NodeRecord, ctx: Context) -> Move:
    """The next record of a node and the effects wanted now."""
    handler = _HANDLERS.get(record.state)
    return handler(record, ctx.seen.sight(record.name), ctx) if handler else (record, ())


def _wants(record: NodeRecord, effect: Effect, ctx: Context) -> Move:
    return record, (effect,) if record.may(effect.key, ctx.now) else ()


def _unwind(record: NodeRecord, ctx: Context, reason: str, *, end: NodeState = NodeState.Deferred) -> Move:
    return record.to(NodeState.Unwinding, ctx.now, reason=reason, unwind=end, bad=end is NodeState.Failed), ()


def _retreat(record: NodeRecord, ctx: Context) -> Move:
    return _unwind(record, ctx, ctx.retreat, end=NodeState.Pending)


def _ours(node: Node, record: NodeRecord, ctx: Context) -> bool:
    """Whether the node's cordon is ours, by its mark or, where the mark was removed, by the journal."""
    return node.unschedulable and (node.owner == ctx.seen.pool.owner or (record.cordoned and not node.owner))


def _stranger(node: Node, record: NodeRecord, ctx: Context) -> str:
    """Who else cordoned the node; empty when nobody did."""
    if not node.unschedulable or _ours(node, record, ctx):
        return ""
    return node.owner or "someone else"


def _silent(sight: Sight) -> str:
    if sight.node is None:
        return "the API server has no such node"
    return f"its machine API does not answer ({sight.problem or 'not asked yet'})"


def _claimed(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    if ctx.retreat:
        return _retreat(record, ctx)
    node, machine = sight.node, sight.machine
    late = ctx.late(record, ctx.seen.pool.deadlines.stage)
    if node is None or machine is None:
        return _unwind(record, ctx, _silent(sight)) if late else (record, ())
    if who := _stranger(node, record, ctx):
        return _unwind(record, ctx, f"cordoned by {who}: it is theirs until they uncordon it")
    if not record.boot_before:
        record = replace(record, boot_before=machine.boot_id, digest_before=machine.digest, digest=machine.digest)
    if machine.digest == record.target and machine.committed and not node.unschedulable:
        return _arrived(record, machine, NodeState.Done, ctx)
    if machine.digest == record.target or machine.staged == record.target:
        return record.to(NodeState.Cordoning, ctx.now, operation=""), ()
    if machine.activated is not None:
        # Somebody's earlier activation would boot another image: take it back first.
        return _wants(record, Rollback(node=record.name, boot_id=machine.boot_id, reason="another image"), ctx)
    operation = sight.operation
    if record.operation and operation is not None and operation.state == "failed":
        tries = record.stage_tries + 1
        problem = f"staging failed ({operation.code}): {operation.detail}"
        if operation.code in _HOPELESS or tries >= _STAGE_TRIES:
            return _unwind(record, ctx, problem)
        return replace(record, operation="", stage_tries=tries, problem=problem), ()
    if late:
        return _unwind(record, ctx, f"staging did not end in time; {record.problem or 'it was still going on'}")
    if record.problem.startswith("Stage (") and any(f"({code})" in record.problem for code in _HOPELESS):
        return _unwind(record, ctx, record.problem)
    if record.operation:
        return record, ()
    stage = Stage(node=record.name, boot_id=machine.boot_id, digest=record.target, source=ctx.source)
    return _wants(record, stage, ctx)


def _cordoning(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    if ctx.retreat:
        return _retreat(record, ctx)
    late = ctx.late(record, ctx.seen.pool.deadlines.cordon)
    node = sight.node
    if node is None:
        return _unwind(record, ctx, _silent(sight)) if late else (record, ())
    if who := _stranger(node, record, ctx):
        return _unwind(record, ctx, f"cordoned by {who}: it is theirs until they uncordon it")
    if node.unschedulable and node.owner == ctx.seen.pool.owner and record.cordoned:
        return record.to(NodeState.Quiescing, ctx.now), ()
    if late:
        return _unwind(record, ctx, f"it could not be cordoned in time; {record.problem}")
    return _wants(record, Cordon(node=record.name, resource_version=node.resource_version), ctx)


def _quiescing(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    if ctx.retreat:
        return _retreat(record, ctx)
    machine = sight.machine
    late = ctx.late(record, ctx.seen.pool.deadlines.cordon)
    if machine is None or sight.pods is None or ctx.seen.workloads is None:
        return _unwind(record, ctx, _silent(sight)) if late else (record, ())
    if machine.digest == record.target:
        return _arrived(record, machine, NodeState.Verifying, ctx)
    standing = drain.assess(sight.pods, ctx.seen.pool.drain)
    if standing.forbidden:
        return _unwind(record, ctx, "its drain is not allowed: " + "; ".join(standing.forbidden))
    keys = {pod.workload for pod in drain.leaving(sight.pods) if pod.workload}
    before = {key: ctx.seen.workloads[key].ready for key in sorted(keys) if key in ctx.seen.workloads}
    return record.to(NodeState.Evicting, ctx.now, before={**before, **record.before}), ()


def _evicting(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    if ctx.retreat:
        return _retreat(record, ctx)
    if sight.pods is None:
        return record, ()
    standing = drain.assess(sight.pods, ctx.seen.pool.drain)
    if standing.forbidden:
        return _unwind(record, ctx, "its drain is not allowed: " + "; ".join(standing.forbidden))
    if standing.done:
        return record.to(NodeState.Replacing, ctx.now), ()
    deadline = ctx.seen.pool.deadlines.evict
    if ctx.late(record, deadline):
        names = ", ".join(f"{pod.namespace}/{pod.name}" for pod in (*standing.evict, *standing.waiting))
        return _unwind(record, ctx, f"not drained after {deadline:.0f} s: {names} still there; {record.problem}")
    asks = (Evict(node=record.name, namespace=pod.namespace, pod=pod.name, uid=pod.uid) for pod in standing.evict)
    return record, tuple(effect for effect in asks if record.may(effect.key, ctx.now))


def _replacing(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    machine = sight.machine
    if machine is not None and machine.boot_id != record.boot_before:
        return _came_up(record, machine, ctx)
    if record.told:
        return record.to(NodeState.Booting, ctx.now), ()
    if ctx.retreat:
        return _retreat(record, ctx)
    if ctx.late(record, ctx.seen.pool.deadlines.replace):
        return _unwind(record, ctx, f"it could not be rebooted in time; {record.problem or _silent(sight)}")
    if machine is None or sight.pods is None:
        return record, ()
    if not drain.assess(sight.pods, ctx.seen.pool.drain).done:
        return record.to(NodeState.Evicting, ctx.now), ()
    if machine.digest == record.target:
        return _arrived(record, machine, NodeState.Verifying, ctx)
    if machine.activated == record.target:
        reboot = Reboot(node=record.name, boot_id=machine.boot_id, remaining=drain.remaining(sight.pods))
        return _wants(record, reboot, ctx)
    if machine.staged != record.target:
        tries = record.stage_tries + 1
        if tries >= _STAGE_TRIES:
            return _unwind(record, ctx, "the staged image vanished from its slot again")
        return record.to(NodeState.Claimed, ctx.now, operation="", stage_tries=tries), ()
    return _wants(record, Activate(node=record.name, boot_id=machine.boot_id, digest=record.target), ctx)


def _booting(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    machine = sight.machine
    if machine is not None and machine.boot_id != record.boot_before:
        return _came_up(record, machine, ctx)
    deadline = ctx.seen.pool.deadlines.boot
    if ctx.late(record, deadline):
        why = "still in its old boot" if machine else _silent(sight)
        return _unwind(record, ctx, f"{deadline:.0f} s after the reboot: {why}", end=NodeState.Failed)
    return record, ()


def _came_up(record: NodeRecord, machine: MachineStatus, ctx: Context) -> Move:
    """A new boot: of the wanted image, or of the old one, and then by whose doing."""
    if machine.digest == record.target:
        return _arrived(record, machine, NodeState.Verifying, ctx)
    attempts = record.attempts + 1
    again = {"boot_before": machine.boot_id, "told": False, "attempts": attempts, "digest": machine.digest}
    if machine.boot_reason != "window-expired" and (record.told or machine.boot_reason == "rolled-back"):
        reason = f"went back to {machine.digest} by itself ({machine.boot_reason}): the wanted image did not boot"
        return _unwind(replace(record, boot=machine.boot_id), ctx, reason, end=NodeState.Failed)
    if attempts >= ctx.seen.pool.deadlines.attempts:
        reason = f"its commit window ran out {attempts} times before its gates were good; {record.problem}"
        return _unwind(replace(record, boot=machine.boot_id), ctx, reason, end=NodeState.Failed)
    # Expired, or rebooted by someone before it was activated: nobody was there to commit, so it is tried again.
    return record.to(NodeState.Replacing, ctx.now, problem=f"boot ended as {machine.boot_reason}", **again), ()


def _arrived(record: NodeRecord, machine: MachineStatus, state: NodeState, ctx: Context) -> Move:
    facts = {"boot": machine.boot_id, "digest": machine.digest, "root_hash": machine.root_hash}
    return record.to(state, ctx.now, secure_boot=machine.secure_boot, told=False, **facts), ()


def _gates(record: NodeRecord, verdict: Judgement) -> NodeRecord:
    """Keep what the gates saw when it decides something, so that holding does not write a record per pass."""
    if verdict.verdict is Verdict.Hold and not verdict.overdue:
        return replace(record, problem=verdict.complaint) if record.problem != verdict.complaint else record
    return replace(record, gates={**record.gates, **verdict.evidence}, problem=verdict.complaint)


def _verifying(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    machine = sight.machine
    if machine is not None and machine.boot_id != record.boot:
        return _came_up(replace(record, told=False), machine, ctx)
    committed = machine is not None and machine.committed and machine.digest == record.target
    if ctx.retreat and ctx.retreat_booted and not committed:
        return _retreat(record, ctx)
    window = ctx.seen.pool.deadlines.verify
    verdict = judge(node_gates(sight, target=record.target), since=record.watched, window=window, now=ctx.now)
    record = _gates(record, verdict)
    if verdict.verdict is Verdict.Fail:
        reason = f"its gates were not good after {window:.0f} s: {verdict.complaint}"
        return _unwind(record, ctx, reason, end=NodeState.Failed)
    if verdict.verdict is Verdict.Hold or machine is None:
        return replace(record, stuck=verdict.overdue), ()
    if committed:
        return record.to(NodeState.Releasing, ctx.now, released=0.0), ()
    return _wants(record, Commit(node=record.name, boot_id=machine.boot_id, digest=record.target), ctx)


def _releasing(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    node = sight.node
    window = ctx.seen.pool.deadlines.workload
    if not record.released:
        if node is None:
            return replace(record, stuck=ctx.late(record, window)), ()
        if _ours(node, record, ctx) or node.owner == ctx.seen.pool.owner:
            return _wants(record, Uncordon(node=record.name, resource_version=node.resource_version), ctx)
        return replace(record, released=ctx.now, cordoned=False, watched=ctx.now, stuck=False), ()
    answers = (node_ready(sight), *workload_gates(record.before, ctx.seen.workloads))
    verdict = judge(answers, since=record.watched, window=window, now=ctx.now)
    record = _gates(record, verdict)
    if verdict.verdict is Verdict.Pass:
        return record.to(NodeState.Done, ctx.now, reason=""), ()
    if verdict.verdict is Verdict.Fail:
        # Committed: it stays on the image, out of service.
        reason = f"its workloads were not back {window:.0f} s after it was uncordoned: {verdict.complaint}"
        return record.to(NodeState.Failed, ctx.now, reason=reason, bad=True), ()
    return replace(record, stuck=verdict.overdue), ()


def _unwinding(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    node, machine = sight.node, sight.machine
    failed = record.unwind is NodeState.Failed
    late = ctx.late(record, ctx.seen.pool.deadlines.unwind)
    # Once it was in Replacing an activation may be pending, whatever the journal knows of its result.
    booted = bool(record.boot) or record.told or str(NodeState.Replacing) in record.times
    if machine is None:
        if failed and late:
            return record.to(NodeState.Failed, ctx.now), ()
        if booted or failed:
            return replace(record, stuck=late), ()
        # It was never activated by us and does not answer: there is nothing to take back but the cordon.
    elif machine.digest == record.target and machine.committed and record.digest_before != record.target:
        # The commit went through before the way back began: it stays, and a bad one stays out of service.
        if failed:
            return record.to(NodeState.Failed, ctx.now, digest=machine.digest), ()
        return record.to(NodeState.Releasing, ctx.now, released=0.0), ()
    elif machine.activated is not None or (machine.digest == record.target and not machine.committed):
        if late:
            return (record.to(NodeState.Failed, ctx.now), ()) if failed else (replace(record, stuck=True), ())
        return _wants(record, Rollback(node=record.name, boot_id=machine.boot_id, reason=record.reason[:1000]), ctx)
    if failed:
        digest = machine.digest if machine else record.digest
        return record.to(NodeState.Failed, ctx.now, digest=digest), ()
    kept = record.name in ctx.seen.ledger.quarantined
    if kept or (node is None and late):
        # A quarantined node was out of service before this rollout and stays so until its gates have passed.
        return record.to(record.unwind, ctx.now), ()
    if node is None:
        return record, ()
    if _ours(node, record, ctx) or node.owner == ctx.seen.pool.owner:
        return _wants(record, Uncordon(node=record.name, resource_version=node.resource_version), ctx)
    return record.to(record.unwind, ctx.now, cordoned=False, told=False, operation="", attempts=0, boot=""), ()


def _failed(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    """Kept out of service: cordoned with our mark, and in the ledger with its reason."""
    wanted: list[Effect] = []
    node, ledger, digest = sight.node, ctx.seen.ledger, record.target
    if node is not None and not node.unschedulable:
        wanted.append(Cordon(node=record.name, resource_version=node.resource_version))
    if record.name not in ledger.quarantined:
        wanted.append(QuarantineNode(node=record.name, digest=digest, reason=record.reason))
    if record.bad and digest not in ledger.refused:
        wanted.append(RefuseDigest(node=record.name, digest=digest, reason=f"{record.name}: {record.reason}"))
    return record, tuple(effect for effect in wanted if record.may(effect.key, ctx.now))


_HANDLERS: dict[NodeState, Callable[[NodeRecord, Sight, Context], Move]] = {
    NodeState.Claimed: _claimed,
    NodeState.Cordoning: _cordoning,
    NodeState.Quiescing: _quiescing,
    NodeState.Evicting: _evicting,
    NodeState.Replacing: _replacing,
    NodeState.Booting: _booting,
    NodeState.Verifying: _verifying,
    NodeState.Releasing: _releasing,
    NodeState.Unwinding: _unwinding,
    NodeState.Failed: _failed,
}
