"""Gates: questions whose answers decide whether a node goes on. Pure; each says what it saw.

Rules:
1. A gate passes only on evidence; what is not known holds.
2. An answer that is not good by the end of the window fails; until then it holds.
3. A gate whose source never answered holds past its window too, and the rollout ends in a safe hold instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from sealwave.rollout.model import Workload, cut
from sealwave.rollout.observation import Sight

# Kinds of workloads whose ready pods the API server counts for us.
WATCHED_KINDS = ("Deployment", "StatefulSet")


class Verdict(StrEnum):
    """What a gate says."""

    Pass = "pass"  # noqa: S105 - a verdict, not a secret
    """The evidence is there."""
    Hold = "hold"
    """Not yet, or not known."""
    Fail = "fail"
    """Not good, and the window is over."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One gate's answer now: ``good`` is None when its source did not answer."""

    gate: str
    good: bool | None
    evidence: str


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """All gates together, at one instant."""

    verdict: Verdict
    answers: tuple[Answer, ...]
    overdue: bool = False  # The window is over and it holds only because something did not answer.

    @property
    def evidence(self) -> Mapping[str, str]:
        """Gate -> what it saw."""
        return {answer.gate: answer.evidence for answer in self.answers}

    @property
    def complaint(self) -> str:
        """What is not good, or not known, in one clause."""
        return cut("; ".join(answer.evidence for answer in self.answers if not answer.good))


def judge(answers: Iterable[Answer], *, since: float, window: float, now: float) -> Judgement:
    """Weigh `answers`; the window is `window` seconds long and began at `since`."""
    said = tuple(replace(answer, evidence=cut(answer.evidence)) for answer in answers)
    if said and all(answer.good for answer in said):
        return Judgement(verdict=Verdict.Pass, answers=said)
    over = now - since >= window
    if over and any(answer.good is False for answer in said):
        return Judgement(verdict=Verdict.Fail, answers=said)
    return Judgement(verdict=Verdict.Hold, answers=said, overdue=over)


def node_gates(sight: Sight, *, target: str) -> tuple[Answer, ...]:
    """The gates of a node that is still cordoned: wanted image, Secure Boot, own checks, Ready."""
    return (_image(sight, target), _secure_boot(sight), _checks(sight), node_ready(sight))


def _image(sight: Sight, target: str) -> Answer:
    if sight.machine is None:
        return Answer(gate="image", good=None, evidence=f"machine API: {sight.problem or 'no answer'}")
    good = sight.machine.digest == target
    return Answer(gate="image", good=good, evidence=f"runs {sight.machine.digest or 'an image it cannot verify'}")


def _secure_boot(sight: Sight) -> Answer:
    if sight.machine is None:
        return Answer(gate="secureBoot", good=None, evidence=f"machine API: {sight.problem or 'no answer'}")
    on = sight.machine.secure_boot
    return Answer(gate="secureBoot", good=on, evidence="Secure Boot is on" if on else "Secure Boot is off")


def _checks(sight: Sight) -> Answer:
    if sight.checks is None:
        return Answer(gate="checks", good=None, evidence=f"node's checks: {sight.problem or 'no answer'}")
    if sight.checks.passed:
        return Answer(gate="checks", good=True, evidence="node's checks passed")
    return Answer(gate="checks", good=False, evidence="node's checks: " + ", ".join(sight.checks.failures))


def node_ready(sight: Sight) -> Answer:
    """Ready, and said about the boot that runs now.

    After a reboot the API server still shows what the kubelet said before it. The boot id that the kubelet registers
    with proves that Ready is fresh, without comparing two machines' clocks.
    """
    machine, node = sight.machine, sight.node
    if machine is None:
        return Answer(gate="ready", good=None, evidence=f"machine API: {sight.problem or 'no answer'}")
    kubelet = "" if machine.kubelet_active else f", its kubelet is not running ({machine.kubelet_detail})"
    if node is None:
        return Answer(gate="ready", good=False, evidence=f"the node is not registered{kubelet}")
    if node.boot_id != machine.boot_id:
        return Answer(gate="ready", good=False, evidence=f"the kubelet has not registered from this boot{kubelet}")
    if not node.ready:
        return Answer(gate="ready", good=False, evidence=f"the node is not Ready ({node.ready_detail}){kubelet}")
    if not machine.kubelet_active:
        # The API server believes a dead kubelet for the rest of its grace period of 40 seconds.
        return Answer(gate="ready", good=False, evidence=f"Ready is what it was{kubelet}")
    return Answer(gate="ready", good=True, evidence="Ready from this boot")


def workload_gates(before: Mapping[str, int], workloads: Mapping[str, Workload] | None) -> tuple[Answer, ...]:
    """The workloads whose pods left the node have as many ready replicas as before, or as are wanted by now."""
    if not before:
        return (Answer(gate="workloads", good=True, evidence="no workload had to leave"),)
    if workloads is None:
        return (Answer(gate="workloads", good=None, evidence="workloads: the API server did not answer"),)
    return tuple(_workload(key, count, workloads.get(key)) for key, count in sorted(before.items()))


def _workload(key: str, before: int, now: Workload | None) -> Answer:
    if now is None:
        kind = key.split("/")[1]
        gone = f"{key} is gone" if kind in WATCHED_KINDS else f"{key}: pods of a {kind} are not watched"
        return Answer(gate=f"workload {key}", good=True, evidence=gone)
    wanted = min(before, now.desired)
    return Answer(
        gate=f"workload {key}", good=now.ready >= wanted, evidence=f"{key}: {now.ready} of {wanted} pods ready"
    )
