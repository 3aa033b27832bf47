"""What the demonstration claims is refused when it was not seen."""

from dataclasses import replace
from typing import Any

import pytest

from sealwave.infra.demo import checks
from sealwave.infra.demo.facts import Rollout, Span, spans
from sealwave.infra.errors import StepFailed
from sealwave.rollout.journal import Record
from sealwave.rollout.model import NodeState, Phase
from sealwave.rollout.outcome import EvictionTally, NodeResult, NodeStatus, Outcome, PoolStatus

OLD, NEW = "sha256:" + "1" * 64, "sha256:" + "2" * 64
BOOTS = {f"node-{n}": f"old-{n}" for n in (1, 2, 3)}


def _node(number: int, **changes: Any) -> NodeResult:
    node = NodeResult(
        node=f"node-{number}",
        wave=1,
        state=NodeState.Done,
        digest=NEW,
        boot=f"new-{number}",
        secure_boot=True,
        drift=(),
        evictions=EvictionTally(granted=1, refused=1),
    )
    return replace(node, **changes)


def _rollout(*nodes: NodeResult, code: int = 0, result: Any = "converged") -> Rollout:
    outcome = Outcome(
        result=result, summary="so", pool="p", digest=NEW, fence=1, head="", records=1, nodes=tuple(nodes)
    )
    return Rollout("the rollout", code, 1.0, "log", outcome, ())


def test_a_good_rollout_passes() -> None:
    checks.rolled(_rollout(*(_node(n) for n in (1, 2, 3))), NEW, BOOTS, nodes=3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"digest": OLD}, "it runs sha256:1", id="another image"),
        pytest.param({"secure_boot": False}, "Secure Boot is not on", id="no secure boot"),
        pytest.param({"secure_boot": None}, "Secure Boot is not on", id="secure boot unknown"),
        pytest.param({"drift": ("/etc/x",)}, "it has drifted", id="drift"),
        pytest.param({"drift": None}, "it has drifted", id="drift unknown"),
        pytest.param({"boot": "old-1"}, "still runs from its boot before", id="not rebooted"),
        pytest.param({"state": NodeState.Failed}, "its state is Failed", id="failed"),
    ],
)
def test_a_node_that_is_not_right_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(StepFailed, match=f"node-1.*{words}"):
        checks.rolled(_rollout(_node(1, **changes), _node(2), _node(3)), NEW, BOOTS, nodes=3)


def test_a_budget_must_have_said_no() -> None:
    quiet = EvictionTally(granted=2, refused=0)
    with pytest.raises(StepFailed, match="0 evictions were refused with 429 and 6 granted"):
        checks.rolled(_rollout(*(_node(n, evictions=quiet) for n in (1, 2, 3))), NEW, BOOTS, nodes=3)


def _halted(**changes: Any) -> Rollout:
    failed = _node(1, state=NodeState.Failed, digest=OLD)
    still = [_node(n, state=NodeState.Pending, digest=OLD, boot=BOOTS[f"node-{n}"]) for n in (2, 3)]
    return replace(_rollout(failed, *still, code=255, result="halted"), **changes)


def test_a_halt_at_one_node_passes_and_names_it() -> None:
    assert checks.halted_at_one(_halted(), runs=OLD, boots=BOOTS) == "node-1"


def test_a_halt_needs_a_bad_exit_status() -> None:
    with pytest.raises(StepFailed, match="ended with 0"):
        checks.halted_at_one(_halted(exit_status=0), runs=OLD, boots=BOOTS)


def test_a_halt_must_not_have_touched_others() -> None:
    with pytest.raises(StepFailed, match="node-2, node-3 rebooted"):
        checks.halted_at_one(_halted(), runs=OLD, boots={**BOOTS, "node-2": "other", "node-3": "other"})


def test_the_failed_node_must_be_back() -> None:
    with pytest.raises(StepFailed, match="instead of the image that it had before"):
        checks.halted_at_one(_halted(), runs=NEW, boots=BOOTS)


def test_the_end_must_be_right_everywhere() -> None:
    node = NodeStatus(node="node-1", ready=True, cordoned=False, owner="", digest=NEW, secure_boot=True, right=True)
    pool = PoolStatus(pool="p", digest=NEW, phase=Phase.Converged, nodes=(node,))
    checks.all_right(pool, NEW, step="the end")
    for wrong in (replace(node, right=False), replace(node, drift=("/x",)), replace(node, secure_boot=None)):
        with pytest.raises(StepFailed, match="node-1 is not as wanted"):
            checks.all_right(replace(pool, nodes=(wrong,)), NEW, step="the end")
    with pytest.raises(StepFailed, match="no nodes"):
        checks.all_right(replace(pool, nodes=()), NEW, step="the end")


def test_a_preview_shows_waves_and_nodes() -> None:
    checks.waves_shown("wave 1 of 2: node-1\nwave 2 of 2: node-2", ["node-1", "node-2"])
    with pytest.raises(StepFailed, match="it does not show wave 2 of 2"):
        checks.waves_shown("wave 1 of 2: node-1", ["node-1"])


def test_spans_follow_each_other_and_the_last_is_open() -> None:
    def record(at: float, node: str, state: str, kind: str = "state") -> Record:
        data = {"state": state} if kind == "state" else {}
        return Record(seq=0, prev="", at=at, fence=1, kind=kind, node=node, data=data, line="")

    records = [
        record(1, "node-1", "Claimed"),
        record(2, "node-1", "Claimed"),
        record(3, "node-2", "Claimed"),
        record(4, "node-1", "", kind="intent"),
        record(5, "node-1", "Evicting"),
    ]
    assert spans(records, 9) == (
        Span("node-1", "Claimed", 1, 5),
        Span("node-1", "Evicting", 5, 9),
        Span("node-2", "Claimed", 3, 9),
    )
