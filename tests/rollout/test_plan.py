"""The planner: waves, what is skipped, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwave.rollout.errors import ControlPlaneRefused, DigestRefused, SelectorMatchesNothing
from sealwave.rollout.ledger import Ledger, Quarantine, Refusal
from sealwave.rollout.machine import MachineStatus
from sealwave.rollout.model import OWNER_ANNOTATION, Node
from sealwave.rollout.plan import plan
from tests.rollout.world import LABELS, V1, V2, make_pool


def fleet(count: int) -> list[Node]:
    return [Node(name=f"node-{number:03}", labels=LABELS, ready=True) for number in range(1, count + 1)]


def running(nodes: list[Node], digest: str = V1) -> dict[str, MachineStatus | None]:
    return {node.name: MachineStatus(machine=node.name, boot_id="b", digest=digest) for node in nodes}


@given(st.integers(1, 40), st.lists(st.integers(1, 7), min_size=1, max_size=4), st.randoms())
def test_waves_have_their_counts_and_every_node_once(count: int, waves: list[int], random: object) -> None:
    nodes = fleet(count)
    made = plan(make_pool(V2, waves=tuple(waves)), nodes, running(nodes), Ledger())
    sizes = [len(wave.nodes) for wave in made.waves]
    wanted = [waves[min(number, len(waves) - 1)] for number in range(len(sizes))]
    assert sizes[:-1] == wanted[:-1]
    assert 0 < sizes[-1] <= wanted[-1]
    assert sorted(made.nodes) == [node.name for node in nodes]
    assert plan(make_pool(V2, waves=tuple(waves)), nodes[::-1], running(nodes), Ledger()) == made


def test_right_nodes_are_left_alone_and_say_why() -> None:
    nodes = fleet(4)
    machines = running(nodes)
    machines["node-001"] = replace(machines["node-001"], digest=V2)  # type: ignore[type-var]  # never None here
    machines["node-002"] = MachineStatus(machine="node-002", boot_id="b", digest=V2, committed=False)
    machines["node-003"] = None
    made = plan(make_pool(V2, waves=(9,)), nodes, machines, Ledger())
    assert made.right == ("node-001",)
    assert made.nodes == ("node-002", "node-003", "node-004")
    assert made.reasons["node-002"] == "runs the wanted image, not committed"
    assert "does not answer" in made.reasons["node-003"]
    assert made.to_json()["waves"] == [{"wave": 1, "nodes": ["node-002", "node-003", "node-004"]}]


def test_a_right_node_out_of_service_is_left_alone_and_named() -> None:
    nodes = [replace(fleet(1)[0], unschedulable=True, ready=False)]
    made = plan(make_pool(V1), nodes, running(nodes), Ledger())
    assert made.reasons == {"node-001": "runs the wanted image, cordoned by someone else, not Ready"}
    assert made.empty


def test_quarantined_nodes_come_first_even_when_they_run_the_wanted_image() -> None:
    nodes = fleet(3)
    kept = Quarantine(node="node-003", pool="workers", digest=V1, reason="it panicked", when=1.0)
    made = plan(make_pool(V2, waves=(1, 2)), nodes, running(nodes), Ledger(quarantined={"node-003": kept}))
    assert [wave.nodes for wave in made.waves] == [("node-003",), ("node-001", "node-002")]
    assert made.reasons["node-003"] == "quarantined since 1970-01-01T00:00:01Z: it panicked"
    same = plan(make_pool(V1), nodes, running(nodes), Ledger(quarantined={"node-003": kept}))
    assert same.nodes == ("node-003",)


def test_a_node_that_is_still_cordoned_by_us_is_not_right() -> None:
    nodes = [replace(fleet(1)[0], annotations={OWNER_ANNOTATION: "sealwave/workers"}, unschedulable=True)]
    assert plan(make_pool(V1), nodes, running(nodes), Ledger()).nodes == ("node-001",)


def test_what_may_not_be_planned_is_one_sentence() -> None:
    nodes = fleet(2)
    refusal = Refusal(digest=V2, reason="node-1: no kubelet", when=1.0, who="me", pool="workers")
    with pytest.raises(DigestRefused, match=r"refused since 1970-.* by me \(node-1: no kubelet\): choose another"):
        plan(make_pool(V2), nodes, running(nodes), Ledger(refused={V2: refusal}))
    with pytest.raises(SelectorMatchesNothing, match=r"no node carries the labels example\.com/pool=workers"):
        plan(make_pool(V2), [replace(node, labels={}) for node in nodes], {}, Ledger())
    chief = replace(nodes[0], control_plane=True)
    with pytest.raises(ControlPlaneRefused, match="node-001 belong to the control plane"):
        plan(make_pool(V2), [chief, nodes[1]], running(nodes), Ledger())
    named = replace(make_pool(V2), control_plane=("node-001",))
    assert plan(named, [chief, nodes[1]], running(nodes), Ledger()).nodes == ("node-001", "node-002")
