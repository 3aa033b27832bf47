"""The planner: which nodes of a pool are replaced, in which waves. Pure: same input, same plan.

Rules:
1. A node that runs the wanted image, committed, in service, is not touched.
2. Quarantined nodes come first: replacing what is already away costs nothing. Then by name, so that a plan is stable.
3. Control-plane nodes are refused unless the pool names them; a refused image is refused before anything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from sealwave.rollout.errors import ControlPlaneRefused, DigestRefused, SelectorMatchesNothing
from sealwave.rollout.ledger import Ledger
from sealwave.rollout.machine import MachineStatus
from sealwave.rollout.model import Node, Plan, PoolSpec, Wave


def members(pool: PoolSpec, nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes of `pool`, by name. Raises SelectorMatchesNothing or ControlPlaneRefused."""
    found = tuple(sorted((node for node in nodes if node.matches(pool.selector)), key=lambda node: node.name))
    if not found:
        text = ",".join(f"{key}={value}" for key, value in sorted(pool.selector.items()))
        raise SelectorMatchesNothing(pool.name, text)
    meant = set(pool.control_plane)
    if refused := tuple(node.name for node in found if node.control_plane and node.name not in meant):
        raise ControlPlaneRefused(pool.name, refused)
    return found


def check_refusal(digest: str, ledger: Ledger) -> None:
    """Raise DigestRefused when `digest` failed before and was not released."""
    if refusal := ledger.refused.get(digest):
        raise DigestRefused(digest, reason=refusal.reason, when=timestamp(refusal.when), who=refusal.who)


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_right(node: Node, machine: MachineStatus | None, *, digest: str, ledger: Ledger, owner: str) -> bool:
    """Whether nothing is to be done about `node`; a machine that does not answer is not known to be right."""
    if machine is None or machine.digest != digest or not machine.committed:
        return False
    return node.name not in ledger.quarantined and node.owner != owner


def plan(pool: PoolSpec, nodes: Sequence[Node], machines: Mapping[str, MachineStatus | None], ledger: Ledger) -> Plan:
    """Cut the nodes that are not right into waves of the pool's counts. Raises PlanRefused."""
    check_refusal(pool.digest, ledger)
    found = members(pool, nodes)
    right, reasons, todo = [], {}, []
    for node in found:
        machine = machines.get(node.name)
        if is_right(node, machine, digest=pool.digest, ledger=ledger, owner=pool.owner):
            right.append(node.name)
            reasons[node.name] = "runs the wanted image" + _but(node)
            continue
        todo.append(node.name)
        reasons[node.name] = _why(node, machine, pool, ledger)
    todo.sort(key=lambda name: (name not in ledger.quarantined, name))
    waves = tuple(Wave(number, names) for number, names in enumerate(_cut(todo, pool.waves), start=1))
    return Plan(pool=pool.name, digest=pool.digest, waves=waves, right=tuple(right), reasons=reasons)


def _but(node: Node) -> str:
    """What keeps a node that is right out of service; that is its owner's business and no reason to replace it."""
    cordoned = f", cordoned by {node.owner or 'someone else'}" if node.unschedulable else ""
    return cordoned + ("" if node.ready else ", not Ready")


def _why(node: Node, machine: MachineStatus | None, pool: PoolSpec, ledger: Ledger) -> str:
    if quarantine := ledger.quarantined.get(node.name):
        return f"quarantined since {timestamp(quarantine.when)}: {quarantine.reason}"
    if machine is None:
        return "its machine API does not answer, so what it runs is not known"
    if machine.digest == pool.digest:
        return "runs the wanted image, " + ("still cordoned by us" if machine.committed else "not committed")
    return f"runs {machine.digest or 'an image that it cannot verify'}"


def _cut(names: Sequence[str], counts: Sequence[int]) -> Iterator[tuple[str, ...]]:
    start = 0
    for number in range(len(names)):
        count = counts[min(number, len(counts) - 1)]
        if start >= len(names):
            return
        yield tuple(names[start : start + count])
        start += count
