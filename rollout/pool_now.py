"""The pool's nodes as they are now: who joined, who is away, and whether another one may go. Pure."""

from __future__ import annotations

from dataclasses import replace

from sealwave.rollout.effects import Cordon, Effect
from sealwave.rollout.model import Node, NodeState, Phase, PoolSpec
from sealwave.rollout.observation import Observation
from sealwave.rollout.state import NodeRecord, RolloutState


def members_now(seen: Observation) -> dict[str, Node]:
    """The nodes that carry the pool's labels now."""
    nodes = {name: sight.node for name, sight in seen.sights.items() if sight.node is not None}
    return {name: node for name, node in nodes.items() if node.matches(seen.pool.selector)}


def with_joined(state: RolloutState, seen: Observation, now: float) -> RolloutState:
    """Nodes that came into the pool during the rollout go last: the pool is right when every node of it is."""
    if state.phase is not Phase.Running:
        return state
    last = max((record.wave for record in state.nodes.values()), default=1)
    for name, node in sorted(members_now(seen).items()):
        if name not in state.nodes and name not in state.right and _meant(node, seen.pool):
            joined = NodeRecord(name=name, wave=last, target=state.digest, since=now, watched=now)
            state = state.with_node(joined)
    return state


def objection(seen: Observation) -> str:
    """Why a rollout cannot be called converged, whatever its nodes came to; empty when it can."""
    found = members_now(seen)
    if not found:
        return "no node of the pool is left in the cluster"
    if strange := [name for name, node in sorted(found.items()) if not _meant(node, seen.pool)]:
        return f"a control-plane node joined that the pool does not name: {', '.join(strange)}"
    return ""


def _meant(node: Node, pool: PoolSpec) -> bool:
    return not node.control_plane or node.name in pool.control_plane


def within_budget(
    state: RolloutState, effects: tuple[Effect, ...], seen: Observation
) -> tuple[RolloutState, tuple[Effect, ...]]:
    """Ask for the budget once more at the cordon: nodes may have broken since the claim, while images were staged."""
    away = {name for name, node in members_now(seen).items() if node.unschedulable or not node.ready}
    kept: list[Effect] = []
    for effect in effects:
        record = state.nodes[effect.node]
        if not isinstance(effect, Cordon) or record.state is not NodeState.Cordoning or effect.node in away:
            kept.append(effect)
        elif len(away) < seen.pool.allowed_away:
            away.add(effect.node)
            kept.append(effect)
        elif not record.problem:
            problem = f"the budget lets {seen.pool.allowed_away} be away at once, and {', '.join(sorted(away))} are"
            state = state.with_node(replace(record, problem=problem))
    return state, tuple(kept)


def away_now(state: RolloutState, seen: Observation) -> dict[str, str]:
    """Nodes of the pool that are out of service or about to be, and why; broken ones count, by whomever."""
    away = {}
    for name, sight in seen.sights.items():
        if sight.node is None or not sight.node.matches(seen.pool.selector):
            continue
        if sight.node.unschedulable:
            away[name] = "cordoned" + (f" by {sight.node.owner}" if sight.node.owner else "")
        elif not sight.node.ready:
            away[name] = "not Ready"
    for record in state.in_flight:
        away.setdefault(record.name, str(record.state))
    for name in seen.ledger.pool(state.pool).claims:
        away.setdefault(name, "claimed")
    return away
