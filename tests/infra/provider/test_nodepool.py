from dataclasses import replace
from typing import Any

import pytest

from sealwave.infra.provider.errors import ProviderError, RolloutStoppedError
from sealwave.infra.provider.nodepool import NodePool
from sealwave.infra.provider.resource import Change
from sealwave.infra.provider.values import UNKNOWN
from sealwave.rollout.errors import ClusterUnreachable
from sealwave.rollout.model import Phase, PoolSpec
from sealwave.rollout.outcome import NodeStatus, Outcome, PoolStatus, Progress
from tests.infra.provider.fakes import POOL, V1, V2, FakeFleet, Lines, node, pool_status


@pytest.mark.parametrize(
    ("change", "names", "says"),
    [
        ({"name": "Workers!"}, "name", "lower-case"),
        ({"selector": {}}, "selector", "at least one entry"),
        ({"selector": {"a": 1}}, "selector.a", "must be text"),
        ({"digest": "sha256:12"}, "digest", "64 hex digits"),
        ({"source": "http://images.example"}, "source", "https://"),
        ({"waves": []}, "waves", "node counts"),
        ({"waves": [0]}, "waves", "node counts"),
        ({"waves": [True]}, "waves", "node counts"),
        ({"budget": 0}, "budget", "1 or more"),
        ({"deadlines": {"bot": 3}}, "deadlines.bot", "has no entry bot"),
        ({"deadlines": {"boot": -1}}, "deadlines.boot", "above 0"),
        ({"drain": {"naked": "yes"}}, "drain.naked", "true or false"),
        ({"controlPlane": "node-1"}, "controlPlane", "list of texts"),
        ({"wave": [1]}, "wave", "there is no input wave"),
    ],
)
def test_a_wrong_input_is_named(change: dict[str, Any], names: str, says: str) -> None:
    _, failures = NodePool(FakeFleet()).check({**POOL, **change})
    assert [failure.input for failure in failures] == [names]
    assert says in failures[0].reason


def test_right_and_unknown_inputs_are_accepted() -> None:
    pool = NodePool(FakeFleet())
    whole = {
        **POOL,
        "budget": 2,
        "machines": {"node-1": "https://127.0.0.1:9443"},
        "deadlines": {"boot": 60, "attempts": 2},
        "drain": {"naked": True},
        "controlPlane": ["node-1"],
    }
    assert pool.check(whole) == (whole, [])
    assert pool.check({**POOL, "digest": UNKNOWN})[1] == []


@pytest.mark.parametrize(
    ("looks", "paths", "says"),
    [
        ((node("node-1"), node("node-2")), [], ""),
        ((node("node-1"), node("node-2", digest=V1, right=False)), ["nodes.node-2"], "node-2 runs sha256:111111111111"),
        ((node("node-1", drift=("/etc/x",)),), ["nodes.node-1"], "has drifted: /etc/x"),
        ((node("node-1", right=False, quarantined="kubelet"),), ["nodes.node-1"], "is quarantined: kubelet"),
    ],
)
def test_equal_inputs_are_compared_with_the_live_fleet(
    looks: tuple[NodeStatus, ...], paths: list[str], says: str
) -> None:
    fleet, lines = FakeFleet(status=pool_status(*looks)), Lines()
    found = NodePool(fleet).diff(lines.session(), old={**POOL, "nodes": {}}, new=POOL)
    assert [item.path for item in found] == paths
    assert all(not item.of_input for item in found)
    assert fleet.looked == 1
    assert f"looked at {len(looks)} of the {len(looks)} nodes" in lines.said[0]
    assert says in "\n".join(lines.said)


def test_a_node_that_does_not_answer_is_a_warning_and_no_difference() -> None:
    silent = NodeStatus(node="node-2", ready=None, cordoned=False, owner="", problem="no answer")
    fleet, lines = FakeFleet(status=pool_status(node("node-1"), silent, warnings=["node-2 does not answer"])), Lines()
    assert NodePool(fleet).diff(lines.session(), old=POOL, new=POOL) == []
    assert lines.warned == ["node-2 does not answer"]


def test_a_cluster_that_does_not_answer_is_a_warning_and_no_difference() -> None:
    class Away(FakeFleet):
        def look(self, spec: PoolSpec) -> PoolStatus:
            raise ClusterUnreachable("https://127.0.0.1:1", "connection refused")

    lines = Lines()
    assert NodePool(Away()).diff(lines.session(), old=POOL, new=POOL) == []
    assert "does not answer" in lines.warned[0] and "not known" in lines.warned[0]


@pytest.mark.parametrize("phase", [Phase.Running, Phase.Holding, Phase.Halted])
def test_an_unfinished_rollout_is_a_difference(phase: Phase) -> None:
    fleet = FakeFleet(status=pool_status(node("node-1"), phase=phase))
    found = NodePool(fleet).diff(Lines().session(), old=POOL, new=POOL)
    assert [item.path for item in found] == ["journalHead"]


def test_changed_inputs_differ_without_a_look_and_another_name_is_another_pool() -> None:
    fleet = FakeFleet()
    found = NodePool(fleet).diff(Lines().session(), old={**POOL, "digest": V1, "name": "old"}, new=POOL)
    assert {item.path: item.change for item in found} == {"name": Change.REPLACE, "digest": Change.UPDATE}
    assert fleet.looked == 0


def test_preview_shows_each_wave_with_its_nodes() -> None:
    lines = Lines()
    fleet = FakeFleet()
    outputs = NodePool(fleet).preview(lines.session(), new=POOL)
    assert lines.said == [
        "wave 1 of 2: node-1 -> sha256:222222222222",
        "wave 2 of 2: node-2, node-3 -> sha256:222222222222",
    ]
    assert outputs["nodes"] is UNKNOWN
    assert fleet.rolled == []


def test_preview_of_a_right_fleet_says_that_no_node_is_touched() -> None:
    lines = Lines()
    NodePool(FakeFleet(waves=())).preview(lines.session(), new=POOL)
    assert lines.said == ["every node of the pool workers already runs sha256:222222222222: no node is touched"]


def test_apply_streams_progress_and_gives_out_what_was_seen() -> None:
    lines = Lines()
    fleet = FakeFleet(
        progress=(
            Progress(at=1.0, kind="state", text="node-1 is cordoned"),
            Progress(at=2.0, kind="effect", text="node-1 staging", fraction=0.5),
        )
    )
    identity, outputs = NodePool(fleet).apply(lines.session(), new=POOL)
    assert identity == "workers"
    assert lines.said == ["node-1 is cordoned", "every node runs v2"]
    assert lines.passing == ["node-1 staging"]
    assert outputs["nodes"]["node-1"] == {"digest": V2, "state": "right"}
    assert outputs["journalHead"] == "ab" * 32


def test_a_rollout_that_halted_is_one_paragraph() -> None:
    halted = Outcome(
        result="halted", summary="node-1 failed its gate", pool="workers", digest=V2, fence=1, head="", records=3
    )
    with pytest.raises(RolloutStoppedError, match="node-1 failed its gate"):
        NodePool(FakeFleet(outcome=halted)).apply(Lines().session(), new=POOL)


def test_delete_touches_no_node() -> None:
    fleet = FakeFleet()
    NodePool(fleet).delete(Lines().session(), old=POOL)
    assert fleet.rolled == []


@pytest.mark.parametrize(
    "held",
    [
        node("node-2", right=False, quarantined="kubelet"),
        replace(node("node-2"), cordoned=True, owner="sealwave/workers"),
    ],
)
def test_delete_of_a_pool_in_flight_is_refused(held: NodeStatus) -> None:
    """Finding: its node stayed cordoned and claimed, and no command freed it."""
    fleet = FakeFleet(status=pool_status(node("node-1"), held))
    with pytest.raises(RolloutStoppedError, match="still has node-2 out of service: roll it to a good image first"):
        NodePool(fleet).delete(Lines().session(), old=POOL)


def test_an_import_says_what_to_do_instead() -> None:
    with pytest.raises(ProviderError, match="cannot be imported"):
        NodePool(FakeFleet()).read(Lines().session(), old={})


def test_read_reports_drift_as_it_is_now() -> None:
    lines = Lines()
    fleet = FakeFleet(status=pool_status(node("node-1", drift=("/etc/x",))))
    outputs = NodePool(fleet).read(lines.session(), old={**POOL, "nodes": {}, "journalHead": ""})
    assert outputs["nodes"]["node-1"]["state"] == "has drifted: /etc/x"
    assert "node-1 has drifted: /etc/x" in lines.said
