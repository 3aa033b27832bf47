"""Draining: who leaves, who stays, who holds it up; one table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sealwave.rollout.drain import assess, remaining
from sealwave.rollout.model import DrainPolicy, Pod
from tests.rollout.world import pod

WEB = pod("web", "n")
DAEMON = pod("daemon", "n", controller="DaemonSet")
MIRROR = replace(pod("mirror", "n", controller="Node"), mirror=True, static_uid="hash-1")
NAKED = pod("naked", "n", controller="")
FINISHED = replace(pod("job", "n", controller="Job"), finished=True)
SCRATCH = replace(WEB, empty_dir=True)
LEAVING = replace(WEB, terminating=True)


@pytest.mark.parametrize(
    ("pods", "policy", "step"),
    [
        ((), DrainPolicy(), "done"),
        ((DAEMON, MIRROR, FINISHED), DrainPolicy(), "done"),
        ((WEB, DAEMON), DrainPolicy(), "evicted"),
        ((LEAVING,), DrainPolicy(), "gone"),
        ((LEAVING, replace(WEB, uid="2")), DrainPolicy(), "evicted"),
        ((NAKED,), DrainPolicy(), "permitted"),
        ((NAKED,), DrainPolicy(naked=True), "evicted"),
        ((replace(NAKED, terminating=True),), DrainPolicy(), "gone"),
        ((SCRATCH,), DrainPolicy(), "evicted"),
        ((SCRATCH,), DrainPolicy(empty_dir=False), "permitted"),
        ((WEB, NAKED), DrainPolicy(), "permitted"),
    ],
)
def test_where_a_drain_stands(pods: tuple[Pod, ...], policy: DrainPolicy, step: str) -> None:
    assert assess(pods, policy).step == step


def test_only_what_stays_may_still_run_at_the_reboot() -> None:
    assert remaining((WEB, DAEMON, MIRROR, FINISHED)) == ("hash-1", "uid-daemon", "uid-job", "uid-mirror")


def test_a_forbidden_pod_is_named_with_its_reason() -> None:
    assert assess((NAKED,), DrainPolicy()).forbidden == ("default/naked has no controller that would start it again",)
