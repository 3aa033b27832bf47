"""Rollouts in a world that is slow, refuses, breaks or changes its mind: they end, and end truly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sealwave.rollout import NodeState
from sealwave.rollout import observe as observing
from sealwave.rollout.cluster import NodePatch
from sealwave.rollout.errors import ClusterError, ClusterUnreachable
from sealwave.rollout.machine import MachineStatus
from sealwave.rollout.model import Node, Phase
from sealwave.rollout.state import Backoff
from sealwave.rollout.view import status
from tests.rollout.test_driver import assert_served, ledger
from tests.rollout.test_explore import Killed, Writes, assert_all_on, drive, kill
from tests.rollout.world import V1, V2, V3, Behaviour, Stop, World, make_pool, make_world


def refusing(world: World, when: Callable[[NodePatch, str], bool], error: ClusterError) -> None:
    """Let patches of nodes fail where `when` says so."""
    patch_node = world.cluster.patch_node

    def patched(name: str, patch: NodePatch) -> Node:
        if when(patch, name):
            raise error
        return patch_node(name, patch)

    world.cluster.patch_node = patched  # type: ignore[method-assign]  # the seam of these tests


@pytest.mark.parametrize("behaviour", ["no-kubelet", "checks-fail", "panics"])
def test_killed_while_a_bad_image_goes_back_and_another_is_wanted(
    behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finding: the record stayed Failed for the earlier image, and the run for the other one never ended."""
    monkeypatch.setattr(observing, "PARALLEL", 1)
    first = Writes()
    drive(make_world(v3=behaviour), V3, first)
    for when in ("before", "after"):
        for number in range(first.count):
            world = make_world(v3=behaviour)
            with pytest.raises(Killed):
                drive(world, V3, Writes(at=number, when=when, then=kill))
            outcome = drive(world, V2, Writes())
            assert outcome.result == "converged", (number, when, outcome.summary)
            assert_all_on(world, V2)


def test_backoff_after_2000_failures() -> None:
    assert Backoff.after(Backoff(2000, 0.0), 10.0) == Backoff(2001, 40.0)
    assert [Backoff.after(Backoff(tries, 0.0), 0.0).until for tries in range(6)] == [2, 4, 8, 16, 30, 30]


def test_slow_passes_do_not_stop_the_clock() -> None:
    """Finding: a pass of more than 30 s let every deadline begin anew."""
    world = make_world(v3="hangs")

    class Slow:
        def __init__(self, machine: Any) -> None:
            self._machine = machine

        def __getattr__(self, name: str) -> Any:
            return getattr(self._machine, name)

        def status(self) -> MachineStatus:
            world.advance(40.0 if self._machine.dead else 0.0)
            found: MachineStatus = self._machine.status()
            return found

    world.wrap = lambda machine: Slow(machine)
    assert world.run(make_pool(V3)).result == "halted"


def test_a_failed_node_is_cordoned_again_after_a_503() -> None:
    """Finding: the run ended with the failed node in service, because its cordon was in a pause."""
    world = make_world(1, replicas=1, min_available=0, v3="no-pods")
    left = [3]

    def busy(patch: NodePatch, name: str) -> bool:
        late = patch.unschedulable and world.machines[name].committed == V3
        left[0] -= late
        return late and left[0] >= 0

    refusing(world, busy, ClusterUnreachable("https://x", "503"))
    assert world.run(make_pool(V3, waves=(1,))).result == "halted"
    assert world.cluster.node_map["node-1"].unschedulable


def test_a_cordon_that_is_refused_for_good_does_not_keep_a_halted_run_alive() -> None:
    world = make_world(1, replicas=1, min_available=0, v3="no-pods")
    refusing(
        world, lambda patch, name: patch.unschedulable and world.machines[name].committed == V3, ClusterError("no")
    )
    assert world.run(make_pool(V3, waves=(1,))).result == "halted"


def test_refused_uncordon_ends_in_a_hold() -> None:
    world = make_world()
    refusing(world, lambda patch, name: not patch.unschedulable, ClusterError("a webhook says no"))
    outcome = world.run(make_pool(V2))
    assert outcome.result == "held"
    assert "a webhook says no" in outcome.summary


def test_resumed_by_a_clock_that_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finding: pauses and deadlines of a clock two hours ahead stood still for two hours."""
    monkeypatch.setattr(observing, "PARALLEL", 1)
    count = Writes()
    drive(make_world(), V2, count)
    for number in range(0, count.count, 5):
        world = make_world()
        with pytest.raises(Killed):
            drive(world, V2, Writes(at=number, when="after", then=kill))
        world.now -= 7200
        for machine in world.machines.values():
            machine.back_at, machine.booted_at = machine.back_at and world.now, world.now
        began = world.now
        drive(world, V2, Writes())
        assert_all_on(world, V2)
        assert world.now - began < 600, number


def test_held_pool_that_became_right_is_closed() -> None:
    """Finding: the journal said "held" for ever when the node that held it was deleted."""
    world = make_world(min_available=2)
    world.cluster.put_node(replace(world.cluster.node_map["node-3"], unschedulable=True))
    assert world.run(make_pool(V2)).result == "held"
    del world.cluster.node_map["node-3"]
    world.run(make_pool(V2))
    assert status(make_pool(V2), world.fleet()).phase is Phase.Converged


def test_a_released_quarantine_passes_its_gates_first() -> None:
    """Finding: a node that somebody uncordoned was taken as done, and its quarantine lifted, without a gate."""
    world = make_world(1, replicas=1, min_available=0, v2="no-pods")
    assert world.run(make_pool(V2, waves=(1,))).result == "halted"
    world.cluster.put_node(replace(world.cluster.node_map["node-1"], unschedulable=False, annotations={}))
    objects = world.cluster.objects
    stored = objects[("Ledger", "cluster")]
    objects[("Ledger", "cluster")] = replace(stored, spec={**stored.spec, "refused": []})
    world.behaviours.clear()
    for name in [uid for uid, found in world.cluster.pod_map.items() if not found.ready]:
        del world.cluster.pod_map[name]
    outcome = world.run(make_pool(V2, waves=(1,)))
    assert outcome.result == "converged", outcome.summary
    assert "ready" in outcome.nodes[0].gates
    assert ledger(world)["quarantined"] == []
    assert_served(world, V2)


def test_a_machine_replaced_while_it_reboots_is_no_verdict() -> None:
    world = make_world()
    machine = world.machines["node-1"]

    def replaced(verb: str, name: str) -> None:
        if machine.boot == 2 and machine.back_at is not None and machine.running == V2:
            machine.running, machine.committed, machine.other, machine.boot_reason = V1, V1, None, "first-boot"

    world.seen = replaced
    outcome = world.run(make_pool(V2))
    assert outcome.result == "held"
    assert "replaced by a new one" in outcome.summary
    assert ledger(world)["refused"] == []


def test_a_stop_in_a_rough_world_still_ends() -> None:
    world = make_world()
    refusing(world, lambda patch, name: not patch.unschedulable, ClusterError("no"))
    outcome = world.driver(make_pool(V2)).run(Stop(world, at=world.now + 20), lambda progress: None)
    assert outcome.result == "held"
    assert {node.state for node in outcome.nodes} & {NodeState.Pending, NodeState.Unwinding}
