"""A node's way back, and what keeps a failed one out of service. Pure."""

from __future__ import annotations

from dataclasses import replace

from sealwave.rollout.effects import (
    Cordon,
    Effect,
    QuarantineNode,
    RefuseDigest,
    Rollback,
    Uncordon,
)
from sealwave.rollout.model import NodeState
from sealwave.rollout.moves import Context, Move, ours, wants
from sealwave.rollout.observation import Sight
from sealwave.rollout.state import NodeRecord


def unwinding(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    """Take back what was begun: an activation, an uncommitted image, the cordon. In this order."""
    node, machine = sight.node, sight.machine
    quarantine = record.unwind is NodeState.Failed
    late = ctx.late(record, ctx.seen.pool.deadlines.unwind)
    # Once it was in Replacing an activation may be pending, whatever the journal knows of its result.
    booted = bool(record.boot) or record.told or str(NodeState.Replacing) in record.times
    if machine is None:
        if quarantine and late:
            return record.to(NodeState.Failed, ctx.now), ()
        if booted or quarantine:
            return replace(record, stuck=late), ()
        # It was never activated by us and does not answer: there is nothing to take back but the cordon.
    elif machine.digest == record.target and machine.committed and record.digest_before != record.target:
        # The commit went through before the way back began: it stays, and a bad one stays out of service.
        if quarantine:
            return record.to(NodeState.Failed, ctx.now, digest=machine.digest), ()
        return record.to(NodeState.Releasing, ctx.now, released=0.0), ()
    elif machine.activated is not None or (machine.digest == record.target and not machine.committed):
        if late:
            return (record.to(NodeState.Failed, ctx.now), ()) if quarantine else (replace(record, stuck=True), ())
        return wants(record, Rollback(node=record.name, boot_id=machine.boot_id, reason=record.reason[:1000]), ctx)
    if quarantine:
        digest = machine.digest if machine else record.digest
        return record.to(NodeState.Failed, ctx.now, digest=digest), ()
    kept = record.name in ctx.seen.ledger.quarantined
    if kept or (node is None and late):
        # A quarantined node was out of service before this rollout and stays so until its gates have passed.
        return record.to(record.unwind, ctx.now), ()
    if node is None:
        return record, ()
    touched = not node.unschedulable and not node.owner and node.fence >= 0
    if touched or ours(node, record, ctx) or node.owner == ctx.seen.pool.owner:
        record = replace(record, stuck=late)
        return wants(record, Uncordon(node=record.name, resource_version=node.resource_version), ctx)
    return record.to(record.unwind, ctx.now, cordoned=False, told=False, operation="", attempts=0, boot=""), ()


def failed(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    """Kept out of service: cordoned with our mark, and in the ledger with its reason."""
    wanted: list[Effect] = []
    node, ledger, digest = sight.node, ctx.seen.ledger, record.target
    if node is not None and not node.unschedulable:
        wanted.append(Cordon(node=record.name, resource_version=node.resource_version))
    if record.name not in ledger.quarantined:
        wanted.append(QuarantineNode(node=record.name, digest=digest, reason=record.reason))
    if record.bad and digest not in ledger.refused:
        wanted.append(RefuseDigest(node=record.name, digest=digest, reason=f"{record.name}: {record.reason}"))
    if not wanted and record.backoff:
        record = replace(record, backoff={})
    return record, tuple(effect for effect in wanted if record.may(effect.key, ctx.now))
