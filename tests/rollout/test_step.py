"""`step`: the table (state, what is seen) -> state, and that it is total."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings

from sealwave.rollout.effects import Effect
from sealwave.rollout.ledger import Ledger, PoolEntry
from sealwave.rollout.model import Node, NodeState, Phase
from sealwave.rollout.observation import Observation, Sight
from sealwave.rollout.state import NodeRecord, RolloutState
from sealwave.rollout.step import step
from tests.rollout import strategies
from tests.rollout.rows import FAILED, FREE, NOW, READY_V2, TRIES_V2, Row, record, seen
from tests.rollout.table import LATE, TABLE, S
from tests.rollout.world import V2, make_pool


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_the_table(row: Row) -> None:
    state = RolloutState(
        pool="workers", digest=V2, source="https://x", phase=row.phase, fence=2, nodes={"node-1": row.before}
    )
    after, effects = step(state, seen(row), NOW)
    node = after.nodes["node-1"]
    assert node.state is row.after
    assert after.phase is (row.becomes or row.phase)
    if row.becomes is None:
        assert tuple(effect.kind for effect in effects) == row.effects
    if row.says:
        assert re.search(row.says, node.reason), node.reason


def test_time_that_nobody_watched_does_not_count() -> None:
    row = Row("", record(S.Verifying, watched=LATE), READY_V2, TRIES_V2, S.Verifying, checks=FAILED)
    state = RolloutState(
        pool="workers", digest=V2, source="https://x", phase=Phase.Running, fence=2, nodes={"node-1": row.before}
    )
    for previous in (None, NOW - 400):
        after, _ = step(state, replace(seen(row), previous=previous), NOW)
        assert after.nodes["node-1"].state is S.Verifying
        assert after.nodes["node-1"].watched == NOW


def test_a_wave_waits_for_the_one_before_it_and_the_budget_counts_what_is_broken() -> None:
    nodes = {f"node-{n}": replace(FREE, name=f"node-{n}") for n in (1, 2, 3)}
    records = {
        name: NodeRecord(name=name, wave=wave, target=V2)
        for name, wave in (("node-1", 1), ("node-2", 2), ("node-3", 2))
    }

    def claimed(**changes: Node) -> list[str]:
        sights = {name: Sight(node=node) for name, node in {**nodes, **changes}.items()}
        ledger = Ledger(pools={"workers": PoolEntry(fence=2)})
        pool = make_pool(V2, waves=(1, 2))
        observation = Observation(pool=pool, sights=sights, ledger=ledger, previous=NOW - 1)
        state = RolloutState(pool="workers", digest=V2, phase=Phase.Running, fence=2, nodes=records)
        _, effects = step(state, observation, NOW)
        return [effect.node for effect in effects]

    assert claimed() == ["node-1"]
    records["node-1"] = replace(records["node-1"], state=S.Done)
    assert claimed() == ["node-2", "node-3"]
    broken = replace(nodes["node-1"], ready=False)
    assert claimed(**{"node-1": broken}) == ["node-2"]
    away = replace(nodes["node-3"], ready=None)
    assert claimed(**{"node-1": broken, "node-3": away}) == ["node-3"]


@settings(max_examples=100)
@given(strategies.states(), strategies.observations(), strategies.times)
def test_step_is_total_and_keeps_the_rules(state: RolloutState, observation: Observation, now: float) -> None:
    after, effects = step(state, observation, now)
    assert (after, effects) == step(state, observation, now)
    assert set(after.nodes) == set(state.nodes)
    kinds: dict[str, list[Effect]] = {}
    for effect in effects:
        kinds.setdefault(effect.kind, []).append(effect)
    if state.phase is not Phase.Running:
        assert "ClaimNode" not in kinds
    for effect in kinds.get("Uncordon", ()):
        machine = observation.sight(effect.node).machine
        before = state.nodes[effect.node]
        back = before.state is NodeState.Unwinding and not before.bad
        assert back or before.state is NodeState.Releasing
        assert machine is None or machine.activated is None or before.state is NodeState.Releasing
    for effect in kinds.get("Commit", ()):
        sight = observation.sight(effect.node)
        assert sight.machine and sight.machine.digest == state.nodes[effect.node].target
        assert sight.machine.secure_boot and sight.checks and sight.checks.passed
        assert sight.node and sight.node.ready and sight.node.boot_id == sight.machine.boot_id
