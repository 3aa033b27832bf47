"""Whole rollouts in memory: the production driver against a fake cluster and fake machines."""

from __future__ import annotations

import pytest

from sealwave.rollout import NodeState, Progress
from tests.rollout.world import V1, V2, V3, World, make_pool, make_world


def assert_served(world: World, digest: str, *, but: tuple[str, ...] = ()) -> None:
    for name, machine in world.machines.items():
        node = world.cluster.node_map[name]
        if name in but:
            continue
        assert machine.committed == machine.running == digest
        assert not node.unschedulable
        assert not node.annotations


def test_three_nodes_go_in_two_waves_to_the_new_image() -> None:
    world = make_world()
    said: list[Progress] = []
    outcome = world.run(make_pool(V2), said.append)
    print("\n".join(progress.text for progress in said))
    assert outcome.result == "converged", outcome.summary
    assert_served(world, V2)
    assert [node.state for node in outcome.nodes] == [NodeState.Done] * 3
    assert [node.wave for node in outcome.nodes] == [1, 2, 2]
    assert sum(node.evictions.refused for node in outcome.nodes) >= 1
    assert world.cluster.objects[("Ledger", "cluster")].spec["pools"]["workers"]["claims"] == []


def test_nothing_to_do_touches_nothing() -> None:
    world = make_world()
    outcome = world.run(make_pool(V1))
    assert outcome.result == "converged"
    assert not outcome.touched
    assert world.cluster.objects == {}


@pytest.mark.parametrize("behaviour", ["no-kubelet", "panics", "hangs", "checks-fail", "no-pods"])
def test_a_bad_image_halts_after_its_first_node(behaviour: str) -> None:
    world = make_world(v3=behaviour)  # type: ignore[arg-type]  # parametrize knows no literals
    said: list[Progress] = []
    outcome = world.run(make_pool(V3), said.append)
    print("\n".join(progress.text for progress in said))
    print(outcome.summary)
    assert outcome.result == "halted"
    assert outcome.nodes[0].state is NodeState.Failed
    assert [node.state for node in outcome.nodes[1:]] == [NodeState.Pending] * 2
    assert world.cluster.node_map["node-1"].unschedulable
    assert_served(world, V1, but=("node-1",))
