"""What each step of the demonstration claims, checked against what was read. Pure: facts in, StepFailed or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sealwave.infra.demo.facts import Rollout
from sealwave.infra.errors import StepFailed
from sealwave.rollout.model import NodeState
from sealwave.rollout.outcome import NodeResult, PoolStatus

__all__ = ["all_right", "boots_of", "halted_at_one", "rolled", "waves_shown"]


def waves_shown(output: str, nodes: Iterable[str]) -> None:
    """A preview names two waves and every node."""
    missing = [what for what in ("wave 1 of 2", "wave 2 of 2", *nodes) if what not in output]
    if missing:
        raise StepFailed("pulumi preview", f"it does not show {', '.join(missing)}")


def rolled(rollout: Rollout, digest: str, boots: Mapping[str, str], *, nodes: int) -> None:
    """Every node runs the image from a new boot, Secure Boot on, nothing drifted; a disruption budget said no once."""
    _exit(rollout, wanted=0)
    if len(rollout.outcome.nodes) != nodes:
        raise StepFailed(rollout.title, f"the journal tells of {len(rollout.outcome.nodes)} nodes instead of {nodes}")
    for node in rollout.outcome.nodes:
        _node_right(rollout.title, node, digest)
        if node.boot == boots.get(node.node):
            raise StepFailed(rollout.title, f"{node.node} still runs from its boot before the rollout")
    refused = sum(node.evictions.refused for node in rollout.outcome.nodes)
    granted = sum(node.evictions.granted for node in rollout.outcome.nodes)
    if not refused or not granted:
        raise StepFailed(rollout.title, f"{refused} evictions were refused with 429 and {granted} granted: want both")


def halted_at_one(rollout: Rollout, *, runs: str, boots: Mapping[str, str]) -> str:
    """One node failed and runs its old image again, the others were never touched; returns the node's name."""
    if rollout.exit_status == 0:
        raise StepFailed(rollout.title, "pulumi up ended with 0 although a node failed")
    failed = [node for node in rollout.outcome.nodes if node.state is NodeState.Failed]
    if rollout.outcome.result != "halted" or len(failed) != 1:
        names = ", ".join(node.node for node in failed) or "none"
        raise StepFailed(rollout.title, f"it is {rollout.outcome.result}, failed nodes: {names}; want one and a halt")
    (one,) = failed
    if one.digest != runs:
        raise StepFailed(rollout.title, f"{one.node} runs {one.digest} instead of the image that it had before")
    moved = [node.node for node in rollout.outcome.nodes if node is not one and node.boot != boots.get(node.node)]
    if moved:
        raise StepFailed(rollout.title, f"{', '.join(moved)} rebooted, and only {one.node} was to be touched")
    return one.node


def all_right(status: PoolStatus, digest: str, *, step: str) -> None:
    """Every node is as wanted and says so itself."""
    for node in status.nodes:
        if not node.right or node.digest != digest or node.secure_boot is not True or node.drift:
            shown = f"image {node.digest}, secure boot {node.secure_boot}, drift {node.drift}, {node.quarantined}"
            raise StepFailed(step, f"{node.node} is not as wanted: {shown} {node.problem}".rstrip(", "))
    if not status.nodes:
        raise StepFailed(step, "the pool has no nodes")


def boots_of(status: PoolStatus) -> dict[str, str]:
    """Which boot each node runs from."""
    return {node.node: node.boot for node in status.nodes}


def _node_right(title: str, node: NodeResult, digest: str) -> None:
    wrong = {
        f"its state is {node.state}": node.state is not NodeState.Done,
        f"it runs {node.digest}": node.digest != digest,
        "Secure Boot is not on": node.secure_boot is not True,
        f"it has drifted: {node.drift}": bool(node.drift) or node.drift is None,
    }
    found = [what for what, is_wrong in wrong.items() if is_wrong]
    if found:
        raise StepFailed(title, f"{node.node}: {'; '.join(found)} {node.reason}".strip())


def _exit(rollout: Rollout, *, wanted: int) -> None:
    if rollout.exit_status != wanted:
        raise StepFailed(rollout.title, f"pulumi ended with {rollout.exit_status}: {rollout.outcome.summary}")
