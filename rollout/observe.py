"""Looking at the world: cluster, ledger and machines become one `Observation`. Reads only.

What does not answer becomes "not known" with its reason; only the API server's silence is an error, because without
it nothing at all is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from sealwave.rollout.access import Fleet
from sealwave.rollout.errors import MachineError, MachineRefused
from sealwave.rollout.ledger_store import read_ledger
from sealwave.rollout.machine import MachineStatus, Operation
from sealwave.rollout.model import Node, NodeState, PoolSpec
from sealwave.rollout.observation import Observation, Sight
from sealwave.rollout.state import NodeRecord, RolloutState

_T = TypeVar("_T")
_U = TypeVar("_U")

# Calls to machines that are under way at once.
PARALLEL = 16

_NEEDS_PODS = frozenset({NodeState.Quiescing, NodeState.Evicting, NodeState.Replacing})
_NEEDS_WORKLOADS = frozenset({NodeState.Quiescing, NodeState.Releasing})


def in_parallel(function: Callable[[_T], _U], items: Iterable[_T]) -> tuple[_U, ...]:
    """`function` of every item, side by side, in order."""
    work = tuple(items)
    if min(len(work), PARALLEL) < 2:
        return tuple(function(item) for item in work)
    with ThreadPoolExecutor(max_workers=min(PARALLEL, len(work))) as pool:
        return tuple(pool.map(function, work))


def observe(
    fleet: Fleet, pool: PoolSpec, state: RolloutState, *, stopping: bool = False, previous: float | None = None
) -> Observation:
    """What a step needs to know now. Raises ClusterError when the API server does not answer."""
    ledger = read_ledger(fleet.cluster)
    nodes = {node.name: node for node in fleet.cluster.nodes()}
    flying = state.in_flight
    looks = dict(in_parallel(lambda record: (record.name, _look(fleet, pool, record, nodes)), flying))
    sights = {
        name: looks.get(name, Sight(node=node))
        for name, node in nodes.items()
        if node.matches(pool.selector) or name in state.nodes
    }
    sights = {**sights, **{name: sight for name, sight in looks.items() if name not in sights}}
    crowded = {record.name for record in flying if record.state in _NEEDS_PODS}
    if crowded:
        pods = fleet.cluster.pods(crowded)
        for name in crowded:
            sights[name] = replace(sights[name], pods=tuple(pod for pod in pods if pod.node == name))
    workloads = fleet.cluster.workloads() if any(record.state in _NEEDS_WORKLOADS for record in flying) else None
    return Observation(
        pool=pool, sights=sights, ledger=ledger, workloads=workloads, stopping=stopping, previous=previous
    )


def _look(fleet: Fleet, pool: PoolSpec, record: NodeRecord, nodes: Mapping[str, Node]) -> Sight:
    node = nodes.get(record.name)
    url = pool.machine_url(node) if node else pool.machines.get(record.name, "")
    if not url:
        return Sight(node=node, problem="it has no address")
    machine = fleet.machines.of(record.name, url)
    sight = Sight(node=node)
    try:
        sight = replace(sight, machine=machine.status())
        if record.operation and record.state is NodeState.Claimed:
            sight = replace(sight, operation=_operation(lambda: machine.operation(record.operation), record))
        if record.state is NodeState.Verifying:
            sight = replace(sight, checks=machine.checks())
    except MachineError as error:
        sight = replace(sight, problem=str(error))
    return sight


def _operation(ask: Callable[[], Operation], record: NodeRecord) -> Operation:
    """A long call that the machine has forgotten has failed."""
    try:
        return ask()
    except MachineRefused as error:
        if error.code != "not_found":
            raise
        return Operation(id=record.operation, kind="stage", state="failed", code="not_found", detail=error.detail)


def machine_statuses(
    fleet: Fleet, pool: PoolSpec, nodes: Iterable[Node]
) -> tuple[dict[str, MachineStatus | None], dict[str, str]]:
    """What every machine of `nodes` says of itself, and for those that do not answer why."""

    def ask(node: Node) -> tuple[str, MachineStatus | None, str]:
        url = pool.machine_url(node)
        if not url:
            return node.name, None, "it has no address"
        try:
            return node.name, fleet.machines.of(node.name, url).status(), ""
        except MachineError as error:
            return node.name, None, str(error)

    answers = in_parallel(ask, nodes)
    return {name: status for name, status, _ in answers}, {name: why for name, _, why in answers if why}
