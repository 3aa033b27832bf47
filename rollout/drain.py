"""Draining a node: which pods are asked to leave, which stay, and what is not done yet. Pure.

Rules:
1. DaemonSet and mirror pods stay: they belong to the node. Finished pods run nothing and stay.
2. A naked pod or one with an emptyDir leaves only where the pool's policy says so; else the node is not drained.
3. The steps below are tried in order and the first that is not done is where the drain stands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sealwave.rollout.model import DrainPolicy, Pod


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a drain stands: the first step that is not done, or ``done``."""

    step: str
    forbidden: tuple[str, ...] = ()  # Why the policy does not let it be drained at all.
    evict: tuple[Pod, ...] = ()
    waiting: tuple[Pod, ...] = ()

    @property
    def done(self) -> bool:
        """Whether the node may be rebooted."""
        return self.step == "done"


def belongs_to_node(pod: Pod) -> bool:
    """Whether the pod stays through a drain."""
    return pod.mirror or pod.controller == "DaemonSet"


def leaving(pods: tuple[Pod, ...]) -> tuple[Pod, ...]:
    """The pods that have to be gone before the reboot."""
    return tuple(pod for pod in pods if not belongs_to_node(pod) and not pod.finished)


def remaining(pods: tuple[Pod, ...]) -> tuple[str, ...]:
    """UIDs of the pods that may still run at the reboot; a mirror pod runs under the UID of its static pod."""
    uids = {uid for pod in pods if belongs_to_node(pod) or pod.finished for uid in (pod.uid, pod.static_uid)}
    return tuple(sorted(uids - {""}))


def _permitted(pods: tuple[Pod, ...], policy: DrainPolicy) -> Standing | None:
    forbidden = []
    for pod in pods:
        if pod.terminating:
            continue
        if not pod.controller and not policy.naked:
            forbidden.append(f"{pod.namespace}/{pod.name} has no controller that would start it again")
        if pod.empty_dir and not policy.empty_dir:
            forbidden.append(f"{pod.namespace}/{pod.name} would lose its emptyDir volume")
    return Standing(step="permitted", forbidden=tuple(forbidden)) if forbidden else None


def _evicted(pods: tuple[Pod, ...], policy: DrainPolicy) -> Standing | None:
    evict = tuple(pod for pod in pods if not pod.terminating)
    waiting = tuple(pod for pod in pods if pod.terminating)
    return Standing(step="evicted", evict=evict, waiting=waiting) if evict else None


def _gone(pods: tuple[Pod, ...], policy: DrainPolicy) -> Standing | None:
    return Standing(step="gone", waiting=pods) if pods else None


_STEPS: tuple[Callable[[tuple[Pod, ...], DrainPolicy], Standing | None], ...] = (_permitted, _evicted, _gone)


def assess(pods: tuple[Pod, ...], policy: DrainPolicy) -> Standing:
    """Where the drain of a node with `pods` stands under `policy`."""
    left = leaving(pods)
    for step in _STEPS:
        if standing := step(left, policy):
            return standing
    return Standing(step="done")
