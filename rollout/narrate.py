"""The journal's records as lines for a person. Pure."""

from __future__ import annotations

from sealwave.rollout.effects import Result, effect_from_json
from sealwave.rollout.journal import Record
from sealwave.rollout.model import NodeState, Phase
from sealwave.rollout.outcome import Progress
from sealwave.rollout.state import NodeRecord, RolloutState

_SAYS = {
    NodeState.Pending: "waits for its turn",
    NodeState.Claimed: "is claimed; staging the image beside the running one",
    NodeState.Cordoning: "is staged; cordoning it",
    NodeState.Quiescing: "is cordoned; noting what runs on it",
    NodeState.Evicting: "is being drained",
    NodeState.Replacing: "is drained; activating the image",
    NodeState.Booting: "reboots",
    NodeState.Verifying: "runs the wanted image, still cordoned; its gates decide",
    NodeState.Releasing: "is committed; uncordoning it and waiting for its workloads",
    NodeState.Done: "is done",
    NodeState.Unwinding: "goes back",
    NodeState.Deferred: "was left as it is",
    NodeState.Failed: "failed and is quarantined",
}


def narrate(record: Record, before: RolloutState, after: RolloutState) -> Progress | None:
    """What a person wants to hear of `record`, if anything."""
    match record.kind:
        case "begin":
            count = len(after.nodes)
            text = f"rollout {after.number} of {after.pool} begins: {count} nodes to {after.digest[:19]}"
            return Progress(at=record.at, kind="begin", text=text)
        case "resume":
            left = sum(1 for node in after.nodes.values() if node.state is not NodeState.Done)
            text = f"rollout {after.number} of {after.pool} resumes with fence {after.fence}: {left} nodes left"
            return Progress(at=record.at, kind="resume", text=text)
        case "head":
            return _head(record, before, after)
        case "state":
            return _state(record, before.nodes.get(record.node), after.nodes[record.node])
        case "done":
            return _done(record, after)
    return None


def _head(record: Record, before: RolloutState, after: RolloutState) -> Progress | None:
    if before.phase is after.phase:
        return None
    why = f": {'; '.join(after.reasons)}" if after.reasons and after.phase is not Phase.Converged else ""
    return Progress(at=record.at, kind="phase", text=f"{after.pool} is {after.phase}{why}")


def _state(record: Record, before: NodeRecord | None, after: NodeRecord) -> Progress | None:
    if before is None or before.state is not after.state:
        why = f": {after.reason}" if after.reason else ""
        text = f"{after.name} {_SAYS[after.state]}{why}"
        return Progress(at=record.at, kind="state", node=after.name, state=after.state, wave=after.wave, text=text)
    if after.problem and before.problem != after.problem:
        text = f"{after.name}: {after.problem}"
        kind = "gate" if after.state in (NodeState.Verifying, NodeState.Releasing) else "note"
        return Progress(at=record.at, kind=kind, node=after.name, state=after.state, wave=after.wave, text=text)
    return None


def _done(record: Record, after: RolloutState) -> Progress | None:
    effect = effect_from_json(record.data["effect"])
    result = Result.from_json(record.data["result"])
    node = after.nodes.get(record.node)
    state, wave = (node.state, node.wave) if node else (None, 0)
    if result.code == "conflict":
        return None
    what = f"{effect.kind}" + (f" {record.data['effect']['pod']}" if "pod" in record.data["effect"] else "")
    said = "done" if result.ok else f"not yet ({result.detail or result.code})"
    kind = "effect" if result.ok else "refused"
    return Progress(
        at=record.at, kind=kind, node=record.node, state=state, wave=wave, text=f"{record.node}: {what}: {said}"
    )
