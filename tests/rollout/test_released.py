"""An image that a person released after its workloads did not come back is measured by the same workloads again."""

from __future__ import annotations

import pytest

from sealwave.rollout import release_digest
from sealwave.rollout.model import NodeState
from tests.rollout.world import V2, World, make_pool, make_world


def failed_on_its_workload() -> World:
    """A node on V2, quarantined because its pods did not start; a person released the image."""
    world = make_world(1, replicas=1, min_available=0, v2="no-pods")
    assert world.run(make_pool(V2, waves=(1,))).result == "halted"
    release_digest(world.fleet(), V2, reason="the registry was down", who="me", clock=world.clock)
    return world


def test_pods_that_still_do_not_start_fail_it_again() -> None:
    """Finding: nothing had to leave this time, so that no workload was looked at."""
    world = failed_on_its_workload()
    outcome = world.run(make_pool(V2, waves=(1,)))
    assert outcome.result == "halted"
    assert "0 of 1 pods ready" in outcome.summary


@pytest.mark.parametrize("stays", [True, False])
def test_pods_that_start_now_bring_it_back_without_a_reboot(stays: bool) -> None:
    world = failed_on_its_workload()
    boot = world.machines["node-1"].boot
    world.behaviours.clear()
    if not stays:
        world.cluster.deployments.clear()
    world.cluster.pod_map.clear()
    outcome = world.run(make_pool(V2, waves=(1,)))
    assert outcome.result == "converged", outcome.summary
    assert [node.state for node in outcome.nodes] == [NodeState.Done]
    assert world.machines["node-1"].boot == boot
