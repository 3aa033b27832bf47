"""A node's transitions until it is told to reboot: claimed, staged, cordoned, drained. Pure.

Every way out of here leads through Unwinding to an uncordoned node on its old image.
"""

from __future__ import annotations

from dataclasses import replace

from sealwave.rollout import drain
from sealwave.rollout.effects import (
    Activate,
    Cordon,
    Evict,
    Reboot,
    Rollback,
    Stage,
)
from sealwave.rollout.model import NodeState, cut
from sealwave.rollout.moves import Context, Move, arrived, came_up, retreat, silent, stranger, unwind, wants
from sealwave.rollout.observation import Sight
from sealwave.rollout.state import NodeRecord

# Stage failures that trying again cannot cure.
_HOPELESS = frozenset({"signature_untrusted", "digest_mismatch", "image_too_large", "no_space", "bad_request"})
# Failed stages of one node before it is given up for this run.
_STAGE_TRIES = 3


def claimed(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    """In the ledger: have the image staged beside the running one. The node itself is not touched."""
    if ctx.retreat:
        return retreat(record, ctx)
    node, machine = sight.node, sight.machine
    late = ctx.late(record, ctx.seen.pool.deadlines.stage)
    if node is None or machine is None:
        return unwind(record, ctx, silent(sight)) if late else (record, ())
    if who := stranger(node, record, ctx):
        return unwind(record, ctx, f"cordoned by {who}: it is theirs until they uncordon it")
    if not record.boot_before:
        record = replace(record, boot_before=machine.boot_id, digest_before=machine.digest, digest=machine.digest)
    kept = record.name in ctx.seen.ledger.quarantined
    if machine.digest == record.target and machine.committed and not node.unschedulable and not kept:
        return arrived(record, machine, NodeState.Done, ctx)
    if machine.digest == record.target or machine.staged == record.target:
        return record.to(NodeState.Cordoning, ctx.now, operation=""), ()
    if machine.activated is not None and not late:
        # Somebody's earlier activation would boot another image: take it back first.
        return wants(record, Rollback(node=record.name, boot_id=machine.boot_id, reason="another image"), ctx)
    operation = sight.operation
    if record.operation and operation is not None and operation.state == "failed":
        tries = record.stage_tries + 1
        problem = cut(f"staging failed ({operation.code}): {operation.detail}")
        if operation.code in _HOPELESS or tries >= _STAGE_TRIES:
            return unwind(record, ctx, problem)
        return replace(record, operation="", stage_tries=tries, problem=problem), ()
    if late:
        return unwind(record, ctx, f"staging did not end in time; {record.problem or 'it was still going on'}")
    if record.problem.startswith("Stage (") and any(f"({code})" in record.problem for code in _HOPELESS):
        return unwind(record, ctx, record.problem)
    if record.operation:
        return record, ()
    stage = Stage(node=record.name, boot_id=machine.boot_id, digest=record.target, source=ctx.source)
    return wants(record, stage, ctx)


def cordoning(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    """Staged: put cordon, owner and fence on the node, unless somebody else has it."""
    if ctx.retreat:
        return retreat(record, ctx)
    late = ctx.late(record, ctx.seen.pool.deadlines.cordon)
    node = sight.node
    if node is None:
        return unwind(record, ctx, silent(sight)) if late else (record, ())
    if who := stranger(node, record, ctx):
        return unwind(record, ctx, f"cordoned by {who}: it is theirs until they uncordon it")
    if node.unschedulable and node.owner == ctx.seen.pool.owner and record.cordoned:
        return record.to(NodeState.Quiescing, ctx.now), ()
    if late:
        return unwind(record, ctx, f"it could not be cordoned in time; {record.problem}")
    return wants(record, Cordon(node=record.name, resource_version=node.resource_version), ctx)


def quiescing(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    """Cordoned: write down how the workloads on it stand, before anything is moved."""
    if ctx.retreat:
        return retreat(record, ctx)
    machine = sight.machine
    late = ctx.late(record, ctx.seen.pool.deadlines.cordon)
    if machine is None or sight.pods is None or ctx.seen.workloads is None:
        return unwind(record, ctx, silent(sight)) if late else (record, ())
    if machine.digest == record.target:
        return arrived(record, machine, NodeState.Verifying, ctx)
    standing = drain.assess(sight.pods, ctx.seen.pool.drain)
    if standing.forbidden:
        return unwind(record, ctx, "its drain is not allowed: " + "; ".join(standing.forbidden))
    keys = {pod.workload for pod in drain.leaving(sight.pods) if pod.workload}
    known = ctx.seen.workloads
    before = {key: known[key].ready if key in known else 0 for key in sorted(keys)}
    return record.to(NodeState.Evicting, ctx.now, before={**before, **record.before}), ()


def evicting(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    """Ask every pod that has to leave, as often as its disruption budget wants to be asked."""
    if ctx.retreat:
        return retreat(record, ctx)
    if sight.pods is None:
        return record, ()
    standing = drain.assess(sight.pods, ctx.seen.pool.drain)
    if standing.forbidden:
        return unwind(record, ctx, "its drain is not allowed: " + "; ".join(standing.forbidden))
    if standing.done:
        return record.to(NodeState.Replacing, ctx.now), ()
    deadline = ctx.seen.pool.deadlines.evict
    if ctx.late(record, deadline):
        names = ", ".join(f"{pod.namespace}/{pod.name}" for pod in (*standing.evict, *standing.waiting))
        return unwind(record, ctx, f"not drained after {deadline:.0f} s: {names} still there; {record.problem}")
    asks = (Evict(node=record.name, namespace=pod.namespace, pod=pod.name, uid=pod.uid) for pod in standing.evict)
    return record, tuple(effect for effect in asks if record.may(effect.key, ctx.now))


def replacing(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    """Empty: make the staged image the next boot, then reboot; look at the pods once more before each."""
    machine = sight.machine
    if machine is not None and machine.boot_id != record.boot_before:
        return came_up(record, machine, ctx)
    if record.told:
        return record.to(NodeState.Booting, ctx.now), ()
    if ctx.retreat:
        return retreat(record, ctx)
    if ctx.late(record, ctx.seen.pool.deadlines.replace):
        return unwind(record, ctx, f"it could not be rebooted in time; {record.problem or silent(sight)}")
    if machine is None or sight.pods is None:
        return record, ()
    if not drain.assess(sight.pods, ctx.seen.pool.drain).done:
        return record.to(NodeState.Evicting, ctx.now), ()
    if machine.digest == record.target:
        return arrived(record, machine, NodeState.Verifying, ctx)
    if machine.activated == record.target:
        # Only what runs needs naming; the machine refuses a longer list than it could have pods.
        stay = tuple(uid for uid in drain.remaining(sight.pods) if uid in machine.pod_uids)
        reboot = Reboot(node=record.name, boot_id=machine.boot_id, remaining=stay)
        return wants(record, reboot, ctx)
    if machine.staged != record.target:
        tries = record.stage_tries + 1
        if tries >= _STAGE_TRIES:
            return unwind(record, ctx, "the staged image vanished from its slot again")
        return record.to(NodeState.Claimed, ctx.now, operation="", stage_tries=tries), ()
    return wants(record, Activate(node=record.name, boot_id=machine.boot_id, digest=record.target), ctx)
