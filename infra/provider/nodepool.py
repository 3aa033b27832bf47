"""`sealwave:index:NodePool`: a set of nodes and the image that they run.

1. Equal inputs are no proof that nothing is to be done: `diff` looks at every node of the pool, within a time limit.
2. A node or a cluster that does not answer is a warning and no difference; a node that answers and is not right is one.
3. Making it so is the engine's work; here its progress becomes lines and its outcome an answer or one paragraph.
4. Deleting the resource forgets the pool, when none of its nodes is out of service for it. No node is touched.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from sealwave.infra.provider.errors import ProviderError, RolloutStoppedError
from sealwave.infra.provider.poolspec import INPUTS, failures_of, spec_of
from sealwave.infra.provider.resource import Change, Difference, Failure, Session, Values
from sealwave.infra.provider.values import UNKNOWN
from sealwave.rollout.errors import ClusterUnreachable
from sealwave.rollout.model import Phase, Plan, PoolSpec
from sealwave.rollout.outcome import NodeStatus, Outcome, PoolStatus, Progress

TOKEN = "sealwave:index:NodePool"  # noqa: S105  a type token, no secret

_UNFINISHED: Final = {
    Phase.Running: "a rollout was cut off",
    Phase.Holding: "a rollout is held",
    Phase.Halted: "a rollout halted",
}
"""What a phase means to a person; the other phases leave nothing to do."""


class Fleet(Protocol):
    """The live fleet and its engine, as far as this resource needs them."""

    def look(self, spec: PoolSpec) -> PoolStatus:
        """Read the pool's journal and each of its nodes, within a time limit."""

    def plan(self, spec: PoolSpec) -> Plan:
        """Return what would be rolled now; touches nothing."""

    def roll(self, spec: PoolSpec, stop: threading.Event, report: Callable[[Progress], None]) -> Outcome:
        """Start or resume the rollout and work until it ends, halts, or is held."""


class NodePool:
    """Answers Pulumi's calls about a pool."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def check(self, inputs: Values) -> tuple[Values, Sequence[Failure]]:
        """Check each input by itself; the nodes are looked at by `diff` and by the engine."""
        filled = {key: value for key, value in inputs.items() if value is not None}
        return filled, failures_of(filled)

    def diff(self, session: Session, *, old: Values, new: Values) -> Sequence[Difference]:
        """Compare the inputs, then the live fleet with what is wanted."""
        found = [
            Difference(key, Change.REPLACE if key == "name" else Change.UPDATE)
            for key in INPUTS
            if old.get(key) != new.get(key)
        ]
        if found:
            return found
        try:
            spec = spec_of(new)
            return _differences(session, spec, self._fleet.look(spec))
        except ClusterUnreachable as error:
            session.warn(f"{error}; so it is not known whether the pool {new['name']} is as wanted")
            return []

    def preview(self, session: Session, *, new: Values) -> Values:
        """Show the waves with their nodes; the outputs are known when the rollout has ended."""
        if UNKNOWN in new.values():
            session.say("the waves are known once the image is")
        else:
            for line in plan_lines(self._fleet.plan(spec_of(new))):
                session.say(line)
        return {**new, "nodes": UNKNOWN, "journalHead": UNKNOWN}

    def apply(self, session: Session, *, new: Values) -> tuple[str, Values]:
        """Roll the pool to the wanted image, or resume where an earlier run was cut off.

        Raises:
            RolloutStoppedError: when the rollout halted or was held.
        """
        spec = spec_of(new)
        outcome = self._fleet.roll(spec, session.stop, lambda progress: _show(session, progress))
        if outcome.result != "converged":
            raise RolloutStoppedError(outcome.summary)
        session.say(outcome.summary)
        # From the outcome, not from another look: a cluster that answers late must not fail a rollout that is done.
        nodes = {
            node.node: {"digest": node.digest or "", "state": f"has drifted: {', '.join(node.drift)}"}
            if node.drift
            else {"digest": node.digest or "", "state": "right"}
            for node in outcome.nodes
        }
        return spec.name, {**_own(new), "nodes": nodes, "journalHead": outcome.head}

    def read(self, session: Session, *, old: Values) -> Values:
        """Return what each node runs now, and say what drifted.

        Raises:
            ProviderError: for an import, which brings no inputs.
        """
        if "selector" not in old:
            raise ProviderError(
                "a NodePool cannot be imported, because its inputs are in the program alone; declare it there and run "
                "`pulumi up`, which touches no node that is right"
            )
        spec = spec_of({key: old[key] for key in INPUTS if key in old})
        view = self._fleet.look(spec)
        _differences(session, spec, view)
        nodes = {
            node.node: {"digest": node.digest or "", "state": what_is_wrong(node) or _seen(node)} for node in view.nodes
        }
        return {**_own(old), "nodes": nodes, "journalHead": view.head}

    def delete(self, session: Session, *, old: Values) -> None:
        """Forget the pool.

        Raises:
            RolloutStoppedError: when a node is in the pool's hands, because nobody would free it afterwards.
        """
        spec = spec_of({key: old[key] for key in INPUTS if key in old})
        try:
            nodes = self._fleet.look(spec).nodes
        except ClusterUnreachable as error:
            session.warn(f"{error}; so it is not known whether a node is still in the pool's hands")
            nodes = ()
        held = [node.node for node in nodes if node.quarantined or node.owner == spec.owner]
        if held:
            raise RolloutStoppedError(
                f"the pool {spec.name} still has {', '.join(held)} out of service: roll it to a good image first, then "
                "delete it"
            )
        session.say(f"the nodes of the pool {old.get('name')} stay as they are; only Pulumi forgets the pool")


def _differences(session: Session, spec: PoolSpec, view: PoolStatus) -> list[Difference]:
    """Say and return what of a pool is not as wanted."""
    found = []
    for warning in view.warnings:
        session.warn(warning)
    answered = sum(1 for node in view.nodes if node.reachable)
    session.say(f"looked at {answered} of the {len(view.nodes)} nodes of the pool {spec.name}")
    if view.phase in _UNFINISHED:
        session.say(f"{_UNFINISHED[view.phase]}; `pulumi up` goes on with it")
        found.append(Difference("journalHead", of_input=False))
    for node in view.nodes:
        wrong = what_is_wrong(node)
        if wrong:
            session.say(f"{node.node} {wrong}")
            found.append(Difference(f"nodes.{node.node}", of_input=False))
    return found


def what_is_wrong(node: NodeStatus) -> str:
    """Say what of a node is not as wanted, as the end of a sentence that begins with its name; empty when all is.

    A machine that does not answer is not wrong: nothing is known of it, and the status warns of it already.
    """
    if node.quarantined:
        return f"is quarantined: {node.quarantined}"
    if node.drift:
        return f"has drifted: {', '.join(node.drift)}"
    if node.right or not node.reachable:
        return ""
    if node.committed is False:
        return f"runs {_short(node.digest)}, which is not committed"
    if node.cordoned:
        return f"runs {_short(node.digest)} and is cordoned by {node.owner or 'someone else'}"
    return f"runs {_short(node.digest)}"


def plan_lines(plan: Plan) -> list[str]:
    """Return the plan as lines for a person, one a wave."""
    if plan.empty:
        return [f"every node of the pool {plan.pool} already runs {_short(plan.digest)}: no node is touched"]
    lines = [
        f"wave {wave.number} of {len(plan.waves)}: {', '.join(wave.nodes)} -> {_short(plan.digest)}"
        for wave in plan.waves
    ]
    if plan.right:
        lines.append(f"not touched, because right already: {', '.join(plan.right)}")
    return lines


def _show(session: Session, progress: Progress) -> None:
    """Show one step; how far a transfer has come replaces its own line."""
    if progress.fraction is None:
        session.say(progress.text)
    else:
        session.pass_by(progress.text)


def _own(inputs: Values) -> dict[str, Any]:
    """Return the inputs that are repeated as outputs, because `diff` is given the outputs only."""
    return {key: inputs[key] for key in INPUTS if key in inputs}


def _seen(node: NodeStatus) -> str:
    return "right" if node.right else "not reachable"


def _short(digest: str | None) -> str:
    """Return as much of a digest as a person compares."""
    return digest[:19] if digest else "an image that it cannot prove"
