"""The rollout's next state: `step(state, observation, now) -> (state, effects)`, pure and total.

Rules:
1. A newer fence is put on every node and machine in flight that can be reached before anything else is done.
2. A wave starts when every node of the waves before it is done; a node starts only within the budget.
3. One failed node halts the rollout: nothing starts, what is not committed goes back.
4. A node that had to be left alone, or a hold past its deadline, ends the rollout in a safe hold: what is in flight
   goes on to its end, nothing starts.
5. The ledger names exactly the nodes in our hands; what is in it beyond them is given back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sealwave.rollout.effects import ClaimNode, Cordon, Effect, LiftQuarantine, RaiseFence, Touch, UnclaimNode
from sealwave.rollout.model import NodeState, Phase
from sealwave.rollout.moves import Context
from sealwave.rollout.observation import Observation
from sealwave.rollout.pool_now import away_now, objection, with_joined, within_budget
from sealwave.rollout.state import NodeRecord, RolloutState
from sealwave.rollout.transitions import advance

# A driver that has not looked for this many seconds was away (killed, suspended): no deadline counts that time.
AWAY_S = 30.0
# Tries to cordon, quarantine or refuse after a failure: with their pauses about four minutes.
FAILED_TRIES = 10
# A pool in which nothing may start for this many seconds, and nothing is in flight, is held.
BLOCKED_S = 600.0

Step = tuple[RolloutState, tuple[Effect, ...]]


def step(state: RolloutState, seen: Observation, now: float) -> Step:
    """What is so now, and what to do about it."""
    if state.phase is Phase.Idle:
        return state, ()
    state = _watch(state, seen, now)
    if seen.stopping and state.phase is Phase.Running:
        return replace(state, phase=Phase.Holding).because("stopped on request"), ()
    if touches := _touches(state, seen, now):
        return state, touches
    before = state.phase
    state, effects = _advance_all(with_joined(state, seen, now), seen, now)
    state, effects = within_budget(state, effects, seen)
    state = _phase(state, seen)
    if state.phase is not before:
        # What the nodes wanted was decided under another phase: decide again.
        return state, ()
    state, claims = _admit(state, seen, now)
    return state, (*_ledger(state, seen), *claims, *effects)


def settled(state: RolloutState, effects: tuple[Effect, ...], *, patient: bool = True) -> bool:
    """Whether a run has come to its end: nothing wanted, and nothing in flight that could still move.

    Without `patient` (a stop request whose grace is over) what is in flight may stay so.
    """
    if state.phase is Phase.Running:
        return False
    if not patient:
        return True
    if any(_still_tried(record) for record in state.nodes.values()):
        return False
    return not effects and all(record.stuck for record in state.in_flight)


def _still_tried(record: NodeRecord) -> bool:
    """Whether something that keeps a failed node out of service did not succeed yet, and is only paused."""
    pauses = record.backoff.values() if record.state is NodeState.Failed else ()
    return any(pause.tries < FAILED_TRIES for pause in pauses)


def _watch(state: RolloutState, seen: Observation, now: float) -> RolloutState:
    """After a gap in which nobody looked, or on another clock, windows, deadlines and pauses begin anew."""
    if seen.previous is not None and 0 <= now - seen.previous <= AWAY_S:
        return state
    nodes = {
        name: replace(record, watched=now, stuck=False, backoff={}) if record.in_flight else replace(record, backoff={})
        for name, record in state.nodes.items()
    }
    return replace(state, nodes=nodes, blocked=min(state.blocked, now))


def _touches(state: RolloutState, seen: Observation, now: float) -> tuple[Effect, ...]:
    wanted: list[Effect] = []
    taken = seen.ledger.pool(state.pool).taken
    for record in state.in_flight:
        sight = seen.sight(record.name)
        if sight.machine is not None and sight.machine.fence < state.fence:
            wanted.append(RaiseFence(node=record.name))
        node = sight.node
        if node is None:
            continue
        if record.state is NodeState.Cordoning and record.since < taken:
            # An older driver may have been stopped in the middle of its cordon, which would still fit this version.
            if not node.unschedulable and node.fence < state.fence:
                wanted.append(Touch(node=record.name, resource_version=node.resource_version))
            continue
        if not record.cordoned:
            continue
        lifting = record.state is NodeState.Releasing or record.unwind is not NodeState.Failed
        if record.state in (NodeState.Releasing, NodeState.Unwinding) and lifting and not node.unschedulable:
            # Our own uncordon, whose *done* was lost: putting the cordon back would undo it.
            continue
        stranger = node.owner not in ("", seen.pool.owner)
        if not stranger and (node.fence < state.fence or node.owner == "" or not node.unschedulable):
            wanted.append(Cordon(node=record.name, resource_version=node.resource_version))
    return tuple(effect for effect in wanted if state.nodes[effect.node].may(effect.key, now))


def _advance_all(state: RolloutState, seen: Observation, now: float) -> Step:
    effects: list[Effect] = []
    nodes = dict(state.nodes)
    for name, record in state.nodes.items():
        after, wanted = advance(record, _context(record, state, seen, now))
        if after.state is NodeState.Pending and seen.sight(name).node is None:
            after = after.to(NodeState.Deferred, now, reason="it left the cluster before its turn")
        if after.target != state.digest and _ended(after, seen):
            # It came to the end of an earlier rollout while this one wants another image.
            after = after.to(NodeState.Pending, now, target=state.digest, **_FRESH)
        nodes[name] = after
        effects.extend(wanted)
    return replace(state, nodes=nodes), tuple(effects)


# What a node that begins anew for another image forgets of the earlier one.
_FRESH: Mapping[str, Any] = {
    "reason": "",
    "bad": False,
    "boot": "",
    "boot_before": "",
    "told": False,
    "operation": "",
    "attempts": 0,
    "stage_tries": 0,
    "unwind": NodeState.Pending,
}


def _ended(record: NodeRecord, seen: Observation) -> bool:
    """Whether the node is at its end, and the ledger says what has to be known of a failed one."""
    if record.state is NodeState.Failed:
        ledger = seen.ledger
        return record.name in ledger.quarantined and (not record.bad or record.target in ledger.refused)
    return record.state in (NodeState.Done, NodeState.Deferred)


def _context(record: NodeRecord, state: RolloutState, seen: Observation, now: float) -> Context:
    retreat, booted = "", False
    if record.target != state.digest:
        retreat, booted = f"another image is wanted now ({state.digest})", True
    elif state.phase is Phase.Halted:
        retreat, booted = "the rollout halted", True
    elif seen.stopping:
        retreat = "stopped on request"
    return Context(seen=seen, now=now, source=state.source, retreat=retreat, retreat_booted=booted)


def _phase(state: RolloutState, seen: Observation) -> RolloutState:
    for record in state.nodes.values():
        failed = record.state is NodeState.Failed or (record.state is NodeState.Unwinding and record.bad)
        if failed and record.target == state.digest:
            state = replace(state, phase=Phase.Halted).because(f"{record.name}: {record.reason}")
    if state.phase is not Phase.Running:
        return state
    if refusal := seen.ledger.refused.get(state.digest):
        # It failed in another pool, or a person refused it.
        return replace(state, phase=Phase.Halted).because(f"the image is refused: {refusal.reason}")
    here = [record for record in state.nodes.values() if not _gone(record, seen)]
    for record in here:
        if record.state is NodeState.Deferred:
            return replace(state, phase=Phase.Holding).because(f"{record.name}: {record.reason}")
        if record.in_flight and record.stuck:
            return replace(state, phase=Phase.Holding).because(f"{record.name}: {record.problem or record.reason}")
    if reason := objection(seen):
        return replace(state, phase=Phase.Holding).because(reason)
    if all(record.state is NodeState.Done for record in here):
        return replace(state, phase=Phase.Converged)
    return state


def _gone(record: NodeRecord, seen: Observation) -> bool:
    """Whether the node left the cluster without having been touched: nobody waits for it."""
    return record.state is NodeState.Deferred and seen.sight(record.name).node is None


def _current_wave(state: RolloutState) -> int:
    """The first wave with a node that is not done; 0 when all are."""
    ended = (NodeState.Done, NodeState.Deferred)
    return min((record.wave for record in state.nodes.values() if record.state not in ended), default=0)


def _admit(state: RolloutState, seen: Observation, now: float) -> Step:
    """Claim nodes of the current wave within the budget; what the ledger shows as claimed starts."""
    if state.phase is not Phase.Running or seen.stopping:
        return state, ()
    current = _current_wave(state)
    ready = [record for record in state.nodes.values() if record.state is NodeState.Pending and record.wave == current]
    away = away_now(state, seen)
    claims: list[Effect] = []
    for record in ready:
        if seen.ledger.claimed(state.pool, record.name):
            claimed = record.to(NodeState.Claimed, now, target=state.digest, boot_before="", reason="")
            state = state.with_node(claimed)
        elif other := seen.ledger.claimed_elsewhere(state.pool, record.name):
            away.setdefault(record.name, f"claimed by pool {other}")
        elif record.name in away or len(away) < seen.pool.allowed_away:
            away.setdefault(record.name, "claimed")
            claims.append(ClaimNode(node=record.name))
    if claims or state.in_flight:
        return (replace(state, blocked=0.0) if state.blocked else state), tuple(claims)
    if not ready:
        return state, ()
    if not state.blocked:
        return replace(state, blocked=now), ()
    if now - state.blocked < BLOCKED_S:
        return state, ()
    names = ", ".join(f"{name} ({why})" for name, why in sorted(away.items()))
    reason = f"the budget lets {seen.pool.allowed_away} be away at once, and away are: {names}"
    return replace(state, phase=Phase.Holding, blocked=0.0).because(reason), ()


def _ledger(state: RolloutState, seen: Observation) -> tuple[Effect, ...]:
    """Give back what is in the ledger and no longer in our hands."""
    effects: list[Effect] = []
    current = _current_wave(state)
    for name in seen.ledger.pool(state.pool).claims:
        record = state.nodes.get(name)
        starting = record is not None and record.state is NodeState.Pending and record.wave == current
        if record is None or not (record.in_flight or (starting and state.phase is Phase.Running)):
            effects.append(UnclaimNode(node=name))
    for name in seen.ledger.quarantined:
        record = state.nodes.get(name)
        if record is not None and record.state is NodeState.Done and record.target == state.digest:
            effects.append(LiftQuarantine(node=name))
    return tuple(effects)
