"""Questions to a pool that touch nothing (`preview`, `status`), and the one deed of a person: releasing a digest."""

from __future__ import annotations

import time
from collections.abc import Callable

from sealwave.rollout.access import Fleet
from sealwave.rollout.errors import AddonMissing, BadInput, Conflict, JournalBroken, JournalTooNew, MachineError
from sealwave.rollout.journal import Entry, replay
from sealwave.rollout.journal_store import Loaded, ObjectJournal
from sealwave.rollout.ledger import Ledger
from sealwave.rollout.ledger_store import change_ledger, read_ledger, read_ledger_if_any
from sealwave.rollout.machine import MachineStatus
from sealwave.rollout.model import Node, Plan, PoolSpec, require_digest
from sealwave.rollout.observe import in_parallel, machine_statuses
from sealwave.rollout.opening import as_announced
from sealwave.rollout.outcome import NodeStatus, PoolStatus
from sealwave.rollout.plan import is_right, members, plan
from sealwave.rollout.state import RolloutState

# Lost races for the journal's end; a running driver writes every few seconds at most.
_RACES = 10


def preview(pool: PoolSpec, fleet: Fleet) -> Plan:
    """Plan from the live cluster and machines; touches nothing. Without the add-on it plans from an empty ledger.

    Raises PlanRefused (digest refused, selector, control plane), BadInput or ClusterError.
    """
    ledger, _ = read_ledger_if_any(fleet.cluster)
    nodes = fleet.cluster.nodes()
    machines, _ = machine_statuses(fleet, pool, members(pool, nodes))
    made = plan(pool, nodes, machines, ledger)
    state, _, _ = _journal(pool, fleet, [])
    return as_announced(state, pool, made) if state.active and state.digest == pool.digest else made


def status(pool: PoolSpec, fleet: Fleet) -> PoolStatus:
    """How every node of the pool stands now; unreachable machines and a missing add-on become warnings.

    Raises ClusterError when the API server itself cannot be asked.
    """
    warnings: list[str] = []
    ledger, missing = read_ledger_if_any(fleet.cluster)
    if missing:
        warnings.append(missing)
    state, count, head = _journal(pool, fleet, warnings)
    nodes = sorted((node for node in fleet.cluster.nodes() if node.matches(pool.selector)), key=lambda node: node.name)
    if not nodes:
        warnings.append(f"pool {pool.name}: no node carries its labels")
    machines, problems = machine_statuses(fleet, pool, nodes)
    warnings.extend(f"{name}: {why}" for name, why in sorted(problems.items()))
    drifts = dict(in_parallel(lambda node: (node.name, _drift(pool, fleet, node, machines[node.name])), nodes))
    return PoolStatus(
        pool=pool.name,
        digest=pool.digest,
        phase=state.phase,
        nodes=tuple(
            _node(pool, node, machines[node.name], ledger, problems.get(node.name, ""), drifts[node.name])
            for node in nodes
        ),
        refused={digest: refusal.reason for digest, refusal in ledger.refused.items()},
        fence=ledger.pool(pool.name).fence,
        head=head,
        records=count,
        warnings=tuple(warnings),
    )


def _journal(pool: PoolSpec, fleet: Fleet, warnings: list[str]) -> tuple[RolloutState, int, str]:
    try:
        loaded = ObjectJournal(fleet.cluster, pool.name).load()
        return replay(pool.name, loaded.records), loaded.chain.count, loaded.chain.head if loaded.records else ""
    except AddonMissing:
        pass  # The ledger's warning has said so.
    except (JournalBroken, JournalTooNew) as error:
        warnings.append(str(error))
    return RolloutState(pool=pool.name), 0, ""


def _drift(pool: PoolSpec, fleet: Fleet, node: Node, machine: MachineStatus | None) -> tuple[str, ...] | None:
    if machine is None:
        return None
    try:
        return fleet.machines.of(node.name, pool.machine_url(node)).drift()
    except MachineError:
        return None


def _node(
    pool: PoolSpec,
    node: Node,
    machine: MachineStatus | None,
    ledger: Ledger,
    problem: str,
    drift: tuple[str, ...] | None,
) -> NodeStatus:
    quarantine = ledger.quarantined.get(node.name)
    return NodeStatus(
        node=node.name,
        ready=node.ready,
        cordoned=node.unschedulable,
        owner=node.owner,
        quarantined=quarantine.reason if quarantine else "",
        reachable=machine is not None,
        problem=problem,
        digest=machine.digest if machine else None,
        committed=machine.committed if machine else None,
        boot=machine.boot_id if machine else "",
        secure_boot=machine.secure_boot if machine else None,
        root_hash=machine.root_hash if machine else "",
        drift=drift,
        right=is_right(node, machine, digest=pool.digest, ledger=ledger, owner=pool.owner),
    )


def release_digest(fleet: Fleet, digest: str, *, reason: str, who: str, clock: Callable[[], float] = time.time) -> None:
    """Lift the refusal of `digest`; journaled with `reason` and `who` in the journal of the pool where it failed.

    Raises BadInput when the digest is malformed or not refused, or the reason is empty.
    """
    require_digest(digest)
    if not reason.strip():
        raise BadInput("give a reason: the release is journaled, and the next reader has to understand it")
    refusal = read_ledger(fleet.cluster).refused.get(digest)
    if refusal is None:
        raise BadInput(f"image {digest} is not refused: nothing is to be released")
    # The journal first: a release that nobody can read about must not happen.
    data = {"digest": digest, "reason": reason, "who": who, "refusedBecause": refusal.reason}
    _append(fleet, refusal.pool, Entry(kind="release", data=data), clock)
    change_ledger(fleet.cluster, lambda ledger: ledger.without_refusal(digest))


def _append(fleet: Fleet, pool: str, entry: Entry, clock: Callable[[], float]) -> Loaded:
    store = ObjectJournal(fleet.cluster, pool)
    for _ in range(_RACES):
        loaded = store.load()
        fence = read_ledger(fleet.cluster).pool(pool).fence
        try:
            return store.append(loaded, [entry], at=round(clock(), 3), fence=fence)
        except Conflict:
            continue
    raise Conflict(f"journal {pool}")
