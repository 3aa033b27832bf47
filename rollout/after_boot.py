"""A node's transitions from the reboot on: its gates, the commit, its workloads. Pure.

The gates come before the commit and the commit before the uncordon.
"""

from __future__ import annotations

from dataclasses import replace

from sealwave.rollout.effects import (
    Commit,
    Uncordon,
)
from sealwave.rollout.gates import Judgement, Verdict, judge, node_gates, node_ready, workload_gates
from sealwave.rollout.model import NodeState
from sealwave.rollout.moves import Context, Move, came_up, ours, retreat, silent, unwind, wants
from sealwave.rollout.observation import Sight
from sealwave.rollout.state import NodeRecord


def booting(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    """Told to reboot: wait for an answer from a new boot; none in time is a failure."""
    machine = sight.machine
    if machine is not None and machine.boot_id != record.boot_before:
        return came_up(record, machine, ctx)
    deadline = ctx.seen.pool.deadlines.boot
    if ctx.late(record, deadline):
        why = "still in its old boot" if machine else silent(sight)
        return unwind(record, ctx, f"{deadline:.0f} s after the reboot: {why}", end=NodeState.Failed)
    return record, ()


# What holding gates see is written down this often, in seconds: a counter in it would be a record per pass.
_NOTE_S = 30.0


def _gates(record: NodeRecord, verdict: Judgement, now: float) -> NodeRecord:
    """Keep what the gates saw: all of it when it decides something, while they hold a word now and then."""
    holds = verdict.verdict is Verdict.Hold
    same = record.problem == verdict.complaint or 0 <= now - record.noted < _NOTE_S
    if holds and same and record.noted and record.stuck == verdict.overdue:
        return record
    record = replace(record, problem=verdict.complaint, noted=now if holds else 0.0)
    if holds and not verdict.overdue:
        return record
    return replace(record, gates={**record.gates, **verdict.evidence})


def verifying(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    """On the wanted image, cordoned, not committed: the gates decide whether it is committed or goes back."""
    machine = sight.machine
    if machine is not None and machine.boot_id != record.boot:
        return came_up(replace(record, told=False), machine, ctx)
    committed = machine is not None and machine.committed and machine.digest == record.target
    if ctx.retreat and ctx.retreat_booted and not committed:
        return retreat(record, ctx)
    window = ctx.seen.pool.deadlines.verify
    verdict = judge(node_gates(sight, target=record.target), since=record.watched, window=window, now=ctx.now)
    record = _gates(record, verdict, ctx.now)
    if verdict.verdict is Verdict.Fail:
        reason = f"its gates were not good after {window:.0f} s: {verdict.complaint}"
        return unwind(record, ctx, reason, end=NodeState.Failed)
    if verdict.verdict is Verdict.Hold or machine is None:
        return replace(record, stuck=verdict.overdue), ()
    if committed:
        return record.to(NodeState.Releasing, ctx.now, released=0.0), ()
    return wants(record, Commit(node=record.name, boot_id=machine.boot_id, digest=record.target), ctx)


def releasing(record: NodeRecord, sight: Sight, ctx: Context) -> Move:
    """Committed: lift the cordon, then wait for the workloads that had to leave."""
    node = sight.node
    window = ctx.seen.pool.deadlines.workload
    if not record.released:
        if node is None:
            return replace(record, stuck=ctx.late(record, window)), ()
        if ours(node, record, ctx) or node.owner == ctx.seen.pool.owner:
            record = replace(record, stuck=ctx.late(record, window))
            return wants(record, Uncordon(node=record.name, resource_version=node.resource_version), ctx)
        return replace(record, released=ctx.now, cordoned=False, watched=ctx.now, stuck=False), ()
    answers = (node_ready(sight), *workload_gates(record.before, ctx.seen.workloads))
    verdict = judge(answers, since=record.watched, window=window, now=ctx.now)
    record = _gates(record, verdict, ctx.now)
    if verdict.verdict is Verdict.Pass:
        return record.to(NodeState.Done, ctx.now, reason=""), ()
    if verdict.verdict is Verdict.Fail:
        # Committed: it stays on the image, out of service.
        reason = f"its workloads were not back {window:.0f} s after it was uncordoned: {verdict.complaint}"
        return record.to(NodeState.Failed, ctx.now, reason=reason, bad=True), ()
    return replace(record, stuck=verdict.overdue), ()
