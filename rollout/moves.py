"""What every transition of a node uses: the context it decides in, and the moves that several states share. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sealwave.rollout.effects import (
    Effect,
)
from sealwave.rollout.machine import MachineStatus
from sealwave.rollout.model import Node, NodeState, cut
from sealwave.rollout.observation import Observation, Sight
from sealwave.rollout.state import NodeRecord

Move = tuple[NodeRecord, tuple[Effect, ...]]


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


def wants(record: NodeRecord, effect: Effect, ctx: Context) -> Move:
    """Stay, and want `effect` unless it is in a pause after a failure."""
    return record, (effect,) if record.may(effect.key, ctx.now) else ()


def unwind(record: NodeRecord, ctx: Context, reason: str, *, end: NodeState = NodeState.Deferred) -> Move:
    """Begin the way back, because of `reason`, to `end`."""
    return record.to(NodeState.Unwinding, ctx.now, reason=cut(reason), unwind=end, bad=end is NodeState.Failed), ()


def retreat(record: NodeRecord, ctx: Context) -> Move:
    """Begin the way back because the rollout does not go on; the node waits for another turn."""
    return unwind(record, ctx, ctx.retreat, end=NodeState.Pending)


def ours(node: Node, record: NodeRecord, ctx: Context) -> bool:
    """Whether the node's cordon is ours, by its mark or, where the mark was removed, by the journal."""
    return node.unschedulable and (node.owner == ctx.seen.pool.owner or (record.cordoned and not node.owner))


def stranger(node: Node, record: NodeRecord, ctx: Context) -> str:
    """Who else cordoned the node; empty when nobody did."""
    if not node.unschedulable or ours(node, record, ctx):
        return ""
    return node.owner or "someone else"


def silent(sight: Sight) -> str:
    """Why nothing is known of the node."""
    if sight.node is None:
        return "the API server has no such node"
    return f"its machine API does not answer ({sight.problem or 'not asked yet'})"


def arrived(record: NodeRecord, machine: MachineStatus, state: NodeState, ctx: Context) -> Move:
    """Into `state`, with what the machine says of the boot that runs now."""
    facts = {"boot": machine.boot_id, "digest": machine.digest, "root_hash": machine.root_hash}
    return record.to(state, ctx.now, secure_boot=machine.secure_boot, told=False, **facts), ()


def came_up(record: NodeRecord, machine: MachineStatus, ctx: Context) -> Move:
    """A new boot: of the wanted image, or of the old one, and then by whose doing."""
    if machine.digest == record.target:
        return arrived(record, machine, NodeState.Verifying, ctx)
    attempts = record.attempts + 1
    again = {"boot_before": machine.boot_id, "told": False, "attempts": attempts, "digest": machine.digest}
    if record.told and machine.boot_reason == "first-boot":
        # No verdict about the image: this machine has never seen it.
        reason = "its machine was replaced by a new one while it was rebooting"
        return unwind(replace(record, boot=machine.boot_id), ctx, reason)
    if machine.boot_reason != "window-expired" and (record.told or machine.boot_reason == "rolled-back"):
        reason = f"went back to {machine.digest} by itself ({machine.boot_reason}): the wanted image did not boot"
        return unwind(replace(record, boot=machine.boot_id), ctx, reason, end=NodeState.Failed)
    if attempts >= ctx.seen.pool.deadlines.attempts:
        # Never `bad`: no gate has failed, and the image may not be blamed for a driver that was away.
        last = f": {record.problem}" if record.problem else ""
        reason = f"its own commit window ran out {attempts} times before its gates were good{last}"
        return unwind(replace(record, boot=machine.boot_id), ctx, reason)
    # Expired, or rebooted by someone before it was activated: nobody was there to commit, so it is tried again.
    return record.to(NodeState.Replacing, ctx.now, problem=f"boot ended as {machine.boot_reason}", **again), ()
