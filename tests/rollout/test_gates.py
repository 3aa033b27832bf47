"""Gates: what counts as evidence."""

from __future__ import annotations

from dataclasses import replace

from sealwave.rollout.gates import node_ready, workload_gates
from sealwave.rollout.observation import Sight
from tests.rollout.rows import ON_V2, READY_V2, WEB


def test_dead_kubelet_is_not_ready() -> None:
    """The API server says Ready for 40 s more; the machine knows better."""
    assert node_ready(Sight(node=READY_V2, machine=ON_V2)).good
    dead = replace(ON_V2, kubelet_active=False, kubelet_detail="exit code 1")
    answer = node_ready(Sight(node=READY_V2, machine=dead))
    assert answer.good is False
    assert "exit code 1" in answer.evidence


def test_unwatched_workloads_are_named() -> None:
    (web, job) = workload_gates({"default/Job/train": 0, WEB: 1}, {})
    assert job.evidence == "default/Job/train: pods of a Job are not watched"
    assert web.evidence == f"{WEB} is gone"
    assert [answer.evidence for answer in workload_gates({}, {})] == ["no workload had to leave"]
