"""Rollouts in a world that is slow, refuses, breaks or changes its mind: they end, and end truly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sealwave.rollout import NodeState, Progress, preview
from sealwave.rollout import observe as observing
from sealwave.rollout.absorb import KEPT, absorb
from sealwave.rollout.cluster import NodePatch
from sealwave.rollout.effects import Evict, Result
from sealwave.rollout.errors import ClusterError, ClusterUnreachable, JournalBroken
from sealwave.rollout.journal import line_hash
from sealwave.rollout.machine import MachineStatus
from sealwave.rollout.model import Node, Phase
from sealwave.rollout.state import Backoff, NodeRecord
from sealwave.rollout.view import status
from tests.rollout.test_driver import assert_served, ledger
from tests.rollout.test_explore import Killed, Writes, assert_all_on, drive, kill
from tests.rollout.world import V1, V2, V3, Behaviour, FakeMachine, Stop, World, make_pool, make_world


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


def test_node_that_joins_goes_last() -> None:
    """Finding: a node of an autoscaler was in no wave, and the run said that all nodes run the image."""
    world = make_world(4, replicas=2, min_available=1)
    late = world.cluster.node_map.pop("node-4")

    def join(progress: Progress) -> None:
        if progress.text == "node-1 is done":
            world.cluster.put_node(late)

    outcome = world.run(make_pool(V2), join)
    assert outcome.result == "converged", outcome.summary
    assert {node.node: node.wave for node in outcome.nodes} == {"node-1": 1, "node-2": 2, "node-3": 2, "node-4": 2}
    assert_served(world, V2)


def test_all_nodes_gone_is_held() -> None:
    """Finding: a pool without nodes had "converged" while every machine ran the old image."""
    world = make_world()
    outcome = world.run(make_pool(V2), lambda progress: world.cluster.node_map.clear())
    assert outcome.result == "held"
    assert "no node of the pool is left" in outcome.summary


def test_nodes_that_break_while_staging_count() -> None:
    """Finding: the budget was asked for at the claim only, up to half an hour before the cordon."""
    world = make_world(4, replicas=2, min_available=0)
    broken = {"node-3", "node-4"}
    begun: list[str] = []

    def breaking(machine: FakeMachine) -> FakeMachine:
        if machine.staging and not begun:
            begun.append(machine.name)
            for name in broken:
                world.cluster.put_node(replace(world.cluster.node_map[name], ready=False))
        return machine

    def seen(verb: str, name: str) -> None:
        away = [node.name for node in world.cluster.nodes() if node.unschedulable or not node.ready]
        assert len(away) <= 2, away

    world.wrap, world.seen = breaking, seen  # type: ignore[assignment]  # the seam is typed by the protocol
    outcome = world.run(make_pool(V2, waves=(2,)))
    assert begun
    assert outcome.result == "held"
    assert "the budget lets 2 be away at once, and node-3, node-4 are" in outcome.summary


def test_long_detail_is_cut() -> None:
    """Finding: one long text of a machine or a webhook made an object that the cluster cannot store."""
    world = make_world()
    refusing(world, lambda patch, name: patch.unschedulable, ClusterError("x" * 100_000))
    assert world.run(make_pool(V2)).result == "held"
    records = world.cluster.objects[("Journal", "workers")].spec["records"]
    assert max(len(record) for record in records) < 8_000


def test_what_a_node_keeps_of_its_evictions_is_bounded() -> None:
    found = NodeRecord(name="node-1", wave=1, target=V2, state=NodeState.Evicting)
    for number in range(100):
        effect = Evict(node="node-1", namespace="default", pod=f"web-{number}", uid=f"uid-{number}")
        found = absorb(found, effect, Result(code="refused", detail="budget"), 1.0)
        found = absorb(found, effect, Result(), 2.0)
    assert (found.granted, found.refused) == (100, 100)
    assert (len(found.evicted), len(found.refusals)) == (KEPT, KEPT)


@pytest.mark.parametrize("kind", ["Journal", "Ledger"])
def test_a_deleted_object_beside_its_sibling_is_refused(kind: str) -> None:
    """Finding: without its ledger a refused image was rolled again; without its journal the rollout began anew."""
    world = make_world(v3="no-kubelet")
    world.run(make_pool(V3))
    del world.cluster.objects[(kind, "workers" if kind == "Journal" else "cluster")]
    machines = {name: list(machine.calls) for name, machine in world.machines.items()}
    with pytest.raises(JournalBroken, match="missing"):
        world.run(make_pool(V3))
    assert machines == {name: machine.calls for name, machine in world.machines.items()}


def test_a_cut_tail_is_refused() -> None:
    """Finding: records at the end could be taken away together with the head, because nobody looked at the count."""
    world = make_world()
    world.run(make_pool(V2))
    stored = world.cluster.objects[("Journal", "workers")]
    records = stored.spec["records"][:-2]
    spec = {**stored.spec, "records": records, "head": line_hash(records[-1])}
    world.cluster.objects[("Journal", "workers")] = replace(stored, spec=spec)
    with pytest.raises(JournalBroken, match="all behind it are missing"):
        world.run(make_pool(V1))


def test_a_fence_that_no_driver_wrote_is_none() -> None:
    node = make_world().cluster.node_map["node-1"]
    assert replace(node, annotations={"sealwave.dev/fence": "9" * 5000}).fence == -1


def test_preview_of_a_held_rollout_shows_its_own_waves() -> None:
    """Finding: the preview cut new waves, and the run went on with the old ones."""
    world = make_world(7, replicas=2, min_available=1)
    world.cluster.put_node(replace(world.cluster.node_map["node-2"], unschedulable=True))
    pool = make_pool(V2, waves=(1, 2, 4))
    assert world.run(pool).result == "held"
    world.cluster.put_node(replace(world.cluster.node_map["node-2"], unschedulable=False))
    shown = preview(pool, world.fleet()).waves
    outcome = world.run(pool)
    assert outcome.result == "converged", outcome.summary
    waves = {node.node: node.wave for node in outcome.nodes}
    assert "node-2" in shown[0].nodes
    for wave in shown:
        assert len({waves[name] for name in wave.nodes}) == 1
    assert len(shown) == len({waves[name] for wave in shown for name in wave.nodes})


def test_a_stop_in_a_rough_world_still_ends() -> None:
    world = make_world()
    refusing(world, lambda patch, name: not patch.unschedulable, ClusterError("no"))
    outcome = world.driver(make_pool(V2)).run(Stop(world, at=world.now + 20), lambda progress: None)
    assert outcome.result == "held"
    assert {node.state for node in outcome.nodes} & {NodeState.Pending, NodeState.Unwinding}
