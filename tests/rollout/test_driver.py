"""Whole rollouts in memory: the production driver against a fake cluster and fake machines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sealwave.rollout import NodeState, Phase, PoolSpec, Progress, preview, release_digest, status
from sealwave.rollout.errors import (
    AddonMissing,
    BadInput,
    ClusterUnreachable,
    DigestMalformed,
    DigestRefused,
    JournalBroken,
)
from tests.rollout.world import V1, V2, V3, Behaviour, Stop, World, make_pool, make_world, pod


def assert_served(world: World, digest: str, *, but: tuple[str, ...] = ()) -> None:
    for name, machine in world.machines.items():
        if name in but:
            continue
        node = world.cluster.node_map[name]
        assert (machine.running, machine.committed) == (digest, digest)
        assert not node.unschedulable
        assert not node.annotations


def ledger(world: World) -> dict[str, Any]:
    return world.cluster.objects[("Ledger", "cluster")].spec


def test_three_nodes_go_in_two_waves_to_the_new_image() -> None:
    world = make_world()
    said: list[Progress] = []
    outcome = world.run(make_pool(V2), said.append)
    assert outcome.result == "converged", outcome.summary
    assert_served(world, V2)
    assert [node.state for node in outcome.nodes] == [NodeState.Done] * 3
    assert [node.wave for node in outcome.nodes] == [1, 2, 2]
    assert {node.digest_before for node in outcome.nodes} == {V1}
    assert all(node.boot != node.boot_before and node.secure_boot and node.drift == () for node in outcome.nodes)
    assert all("Evicting" in node.times and "Verifying" in node.times for node in outcome.nodes)
    refused = [refusal for node in outcome.nodes for refusal in node.evictions.refusals]
    assert any("needs 2 healthy pods and has 2 currently" in refusal for refusal in refused)
    assert sum(node.evictions.granted for node in outcome.nodes) >= 3
    assert ledger(world)["pools"]["workers"]["claims"] == []
    assert outcome.records == world.cluster.objects[("Journal", "workers")].spec["count"]
    assert outcome.head == world.cluster.objects[("Journal", "workers")].spec["head"]
    texts = [progress.text for progress in said]
    assert texts.index("node-1 is done") < texts.index("node-2: ClaimNode: done")
    assert outcome.to_json()["nodes"][0]["state"] == "Done"


def test_the_order_on_a_machine_is_commit_then_uncordon() -> None:
    world = make_world()
    events: list[tuple[str, str]] = []
    world.seen = lambda verb, name: events.append((verb, name))
    world.run(make_pool(V2))
    mine = [verb for verb, name in events if name == "node-1" and not verb.startswith("write")]
    assert mine == ["cordon", "evict", "commit", "uncordon"]


def test_nothing_to_do_touches_nothing() -> None:
    world = make_world()
    outcome = world.run(make_pool(V1))
    assert outcome.result == "converged"
    assert not outcome.touched
    assert world.cluster.objects == {}
    assert all(machine.calls == [] and machine.fence == 0 for machine in world.machines.values())


@pytest.mark.parametrize("behaviour", ["no-kubelet", "panics", "hangs", "checks-fail"])
def test_a_bad_image_halts_after_its_first_node_and_is_refused(behaviour: Behaviour) -> None:
    world = make_world(v3=behaviour)
    outcome = world.run(make_pool(V3))
    assert outcome.result == "halted"
    assert [node.state for node in outcome.nodes] == [NodeState.Failed, NodeState.Pending, NodeState.Pending]
    assert "refused from now on" in outcome.summary
    assert "Never touched: node-2, node-3." in outcome.summary
    assert "\n" not in outcome.summary
    assert world.cluster.node_map["node-1"].unschedulable
    assert world.cluster.node_map["node-1"].owner == "sealwave/workers"
    assert_served(world, V1, but=("node-1",))
    with pytest.raises(DigestRefused, match="sealwave rollout release-digest"):
        world.run(make_pool(V3))


def test_workloads_that_do_not_come_back_halt_and_the_node_is_cordoned_again() -> None:
    world = make_world(1, replicas=1, min_available=0, v3="no-pods")
    outcome = world.run(make_pool(V3, waves=(1,)))
    assert outcome.result == "halted"
    assert "0 of 1 pods ready" in outcome.summary
    assert world.machines["node-1"].committed == V3
    assert world.cluster.node_map["node-1"].unschedulable
    assert list(status(make_pool(V3), world.fleet()).refused) == [V3]


def test_after_a_bad_image_the_good_one_releases_the_quarantined_node() -> None:
    world = make_world(v3="no-kubelet")
    world.run(make_pool(V3))
    before = status(make_pool(V1), world.fleet())
    assert before.phase is Phase.Halted
    assert [node.right for node in before.nodes] == [False, True, True]
    assert "kubelet" in before.nodes[0].quarantined
    assert preview(make_pool(V1), world.fleet()).to_json()["waves"] == [{"wave": 1, "nodes": ["node-1"]}]
    outcome = world.run(make_pool(V1))
    assert outcome.result == "converged", outcome.summary
    assert_served(world, V1)
    assert ledger(world)["quarantined"] == []
    assert status(make_pool(V1), world.fleet()).right
    world.run(make_pool(V2))
    assert_served(world, V2)


def test_a_released_digest_may_be_rolled_again_and_the_journal_says_who() -> None:
    world = make_world(v3="no-kubelet")
    world.run(make_pool(V3))
    for reason, digest, error in (("", V3, BadInput), ("x", V2, BadInput), ("x", "v3", DigestMalformed)):
        with pytest.raises(error):
            release_digest(world.fleet(), digest, reason=reason, who="me")
    release_digest(world.fleet(), V3, reason="the kubelet was fixed", who="me", clock=world.clock)
    last = world.cluster.objects[("Journal", "workers")].spec["records"][-1]
    assert '"kind":"release"' in last
    assert "the kubelet was fixed" in last
    world.behaviours.clear()
    assert world.run(make_pool(V3)).result == "converged"
    assert_served(world, V3)


def test_a_window_that_ran_out_while_nobody_drove_is_tried_again() -> None:
    world = make_world()
    driver = world.driver(make_pool(V2))
    assert driver.open()
    while driver._state.nodes["node-1"].state is not NodeState.Verifying:
        _, moved = driver.turn(stopping=False, patient=True)
        world.advance(0.0 if moved else 1.0)
    for _ in range(300):
        world.advance(1.0)
    assert world.machines["node-1"].boot_reason == "window-expired"
    outcome = world.run(make_pool(V2))
    assert outcome.result == "converged", outcome.summary
    assert world.machines["node-1"].boot == 4
    assert ledger(world)["refused"] == []


def test_a_stop_before_the_reboot_leaves_every_node_free_and_the_next_run_goes_on() -> None:
    world = make_world(min_available=3)  # nothing may ever be evicted
    outcome = world.driver(make_pool(V2)).run(Stop(world, at=world.now + 30), lambda progress: None)
    assert outcome.result == "held"
    assert outcome.reasons == ("stopped on request",)
    assert_served(world, V1)
    assert ledger(world)["pools"]["workers"]["claims"] == []
    world.cluster.deployments["default/Deployment/web"].min_available = 2
    assert world.run(make_pool(V2)).result == "converged"


def test_a_drain_that_never_ends_is_held_with_the_budgets_words() -> None:
    world = make_world(min_available=3)
    outcome = world.run(make_pool(V2))
    assert outcome.result == "held"
    assert "needs 3 healthy pods and has 3 currently" in outcome.summary
    assert_served(world, V1)


def test_a_node_that_somebody_else_cordoned_is_left_to_them() -> None:
    world = make_world()
    world.cluster.put_node(replace(world.cluster.node_map["node-1"], unschedulable=True))
    outcome = world.run(make_pool(V2))
    assert outcome.result == "held"
    assert "cordoned by someone else" in outcome.summary
    assert world.cluster.node_map["node-1"].unschedulable
    assert "activate" not in world.machines["node-1"].calls


def test_daemon_sets_stay_and_a_naked_pod_holds_unless_the_policy_says_otherwise() -> None:
    world = make_world()
    world.cluster.put_pod(pod("naked", "node-1", controller=""))
    held = world.run(make_pool(V2))
    assert held.result == "held"
    assert "default/naked has no controller" in held.summary
    pool = make_pool(V2)
    allowed = replace(pool, drain=replace(pool.drain, naked=True))
    assert world.run(allowed).result == "converged"


def test_a_machine_that_refuses_the_image_is_left_as_it_is() -> None:
    world = make_world()
    world.machines["node-1"].stage_problem = "signature_untrusted"
    outcome = world.run(make_pool(V2))
    assert outcome.result == "held"
    assert "signature_untrusted" in outcome.summary
    assert_served(world, V1)


def test_an_api_server_that_restarts_costs_only_time() -> None:
    world = make_world()
    calls = iter(range(100_000))
    read = world.cluster.read_object

    def sometimes(kind: str, name: str) -> Any:
        if next(calls) % 11 in (8, 9):
            raise ClusterUnreachable("https://x", "connection refused")
        return read(kind, name)

    world.cluster.read_object = sometimes  # type: ignore[method-assign]  # the seam of this test
    said: list[str] = []
    assert world.run(make_pool(V2), lambda progress: said.append(progress.text)).result == "converged"
    assert_served(world, V2)
    assert any("https://x does not answer" in text for text in said)


def test_a_changed_record_stops_the_driver_before_it_touches_anything() -> None:
    world = make_world()
    world.run(make_pool(V2))
    stored = world.cluster.objects[("Journal", "workers")]
    records = list(stored.spec["records"])
    records[7] = records[7].replace("node-1", "node-2", 1)
    world.cluster.objects[("Journal", "workers")] = replace(stored, spec={**stored.spec, "records": records})
    fence = ledger(world)["pools"]["workers"]["fence"]
    with pytest.raises(JournalBroken, match="record 7 was changed"):
        world.run(make_pool(V1))
    assert ledger(world)["pools"]["workers"]["fence"] == fence
    assert any("record 7 was changed" in warning for warning in status(make_pool(V2), world.fleet()).warnings)


def test_without_the_addon_a_preview_plans_and_a_run_says_what_is_missing() -> None:
    world = make_world()
    world.cluster.addon = False
    assert preview(make_pool(V2), world.fleet()).nodes == ("node-1", "node-2", "node-3")
    assert any("add-on" in warning for warning in status(make_pool(V2), world.fleet()).warnings)
    with pytest.raises(AddonMissing):
        world.run(make_pool(V2))


def test_a_node_that_leaves_the_cluster_before_its_turn_is_not_waited_for() -> None:
    world = make_world(4, replicas=2, min_available=1)

    def leave(progress: Progress) -> None:
        if progress.kind == "begin":
            del world.cluster.node_map["node-4"]

    outcome = world.run(make_pool(V2), leave)
    assert outcome.result == "converged", outcome.summary
    assert_served(world, V2, but=("node-4",))
    assert outcome.nodes[3].reason == "it left the cluster before its turn"


def test_a_new_node_joins_the_last_wave_of_a_held_rollout() -> None:
    world = make_world(4, min_available=3)
    world.cluster.node_map["node-4"] = replace(world.cluster.node_map["node-4"], labels={})
    held = world.driver(make_pool(V2)).run(Stop(world, at=world.now + 20), lambda progress: None)
    assert held.result == "held"
    labels = world.cluster.node_map["node-1"].labels
    world.cluster.put_node(replace(world.cluster.node_map["node-4"], labels=labels))
    world.cluster.deployments["default/Deployment/web"].min_available = 1
    outcome = world.run(make_pool(V2))
    assert outcome.result == "converged", outcome.summary
    assert {node.node: node.wave for node in outcome.nodes} == {"node-1": 1, "node-2": 2, "node-3": 2, "node-4": 2}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"digest": "v2"}, "not an image digest"),
        ({"name": "Workers"}, "lower-case"),
        ({"selector": {}}, "selector is empty"),
        ({"waves": ()}, "at least one count"),
        ({"waves": (1, 0)}, "1 or more"),
        ({"source": "http://x"}, "https"),
        ({"machines": {"node-1": "http://node-1.example.com:9443"}}, r"machines\.node-1 .* https:// only"),
    ],
)
def test_a_pool_that_cannot_be_is_one_sentence(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        replace(make_pool(V2), **changes)


def test_pool_is_exported() -> None:
    assert PoolSpec is type(make_pool())
