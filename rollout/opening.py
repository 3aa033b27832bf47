"""How a run begins: what the journal remembers and what the planner wants become the state that the driver starts from.

Pure. A rollout that was not finished and wants the same image is resumed with its waves as they were; anything else
begins a new one, which takes over what is still in flight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sealwave.rollout.journal import Entry
from sealwave.rollout.model import NodeState, Phase, Plan, PoolSpec, Wave
from sealwave.rollout.state import NodeRecord, RolloutState


def opening(state: RolloutState, pool: PoolSpec, plan: Plan | None, *, fence: int, now: float) -> Entry:
    """The journal's first entry of this run; its data is the state that the run starts from.

    Without a plan the image was refused while nodes are still in flight for it: they are only brought to their end.
    """
    if plan is None:
        halted = replace(state, phase=Phase.Halted, fence=fence, nodes=_unstuck(state))
        return Entry(kind="resume", data=halted.to_json())
    if state.active and state.digest == pool.digest:
        return Entry(kind="resume", data=_resumed(state, pool, plan, fence=fence, now=now).to_json())
    begun = RolloutState(
        pool=pool.name,
        number=state.number + 1,
        digest=pool.digest,
        source=pool.source,
        phase=Phase.Running,
        fence=fence,
        right=plan.right,
        nodes=_begun(state, plan, now),
    )
    return Entry(kind="begin", data=begun.to_json())


def _begun(state: RolloutState, plan: Plan, now: float) -> Mapping[str, NodeRecord]:
    nodes = {}
    for wave in plan.waves:
        for name in wave.nodes:
            nodes[name] = NodeRecord(name=name, wave=wave.number, target=plan.digest, since=now, watched=now)
            if (failed := state.nodes.get(name)) and failed.state is NodeState.Failed and failed.digest == plan.digest:
                # It failed on this image and still runs it: what it is measured by is what was there before.
                nodes[name] = replace(nodes[name], before=failed.before)
    for record in state.in_flight:
        # It stays in our hands and comes to a safe end under the image that it was taken for.
        planned = nodes.get(record.name)
        nodes[record.name] = replace(record, wave=planned.wave if planned else 1, stuck=False)
    return nodes


def _unstuck(state: RolloutState) -> Mapping[str, NodeRecord]:
    return {name: replace(record, stuck=False) for name, record in state.nodes.items()}


def as_announced(state: RolloutState, pool: PoolSpec, plan: Plan) -> Plan:
    """`plan` with the waves that a run would go on with: those of the unfinished rollout of the same image."""
    resumed = _resumed(state, pool, plan, fence=state.fence, now=0.0)
    todo = [record for record in resumed.nodes.values() if record.state is not NodeState.Done]
    numbers = sorted({record.wave for record in todo})
    waves = tuple(
        Wave(number, tuple(record.name for record in todo if record.wave == wave))
        for number, wave in enumerate(numbers, start=1)
    )
    return replace(plan, waves=waves)


def _resumed(state: RolloutState, pool: PoolSpec, plan: Plan, *, fence: int, now: float) -> RolloutState:
    nodes: dict[str, NodeRecord] = {}
    planned = set(plan.nodes)
    known = planned | set(plan.right)
    for name, record in state.nodes.items():
        fresh = NodeRecord(name=name, wave=record.wave, target=plan.digest, since=now, watched=now)
        if record.in_flight:
            nodes[name] = replace(record, stuck=False)
        elif name not in known:
            continue  # It left the pool.
        elif record.state is NodeState.Done and name not in planned:
            nodes[name] = record
        elif name in planned:
            nodes[name] = record if record.state is NodeState.Pending else fresh
    last = max((record.wave for record in state.nodes.values()), default=1)
    for name in plan.nodes:
        # Nodes that joined since go last, so that the waves that were announced stay as they are.
        nodes.setdefault(name, NodeRecord(name=name, wave=last, target=plan.digest, since=now, watched=now))
    head = replace(state, source=pool.source, phase=Phase.Running, fence=fence, blocked=0.0, reasons=())
    return replace(head, right=plan.right, nodes=nodes)
