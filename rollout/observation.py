"""What a pass of the driver saw: the cluster, the machines and the ledger, as one frozen value.

An absent value means "not known", never "not so".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sealwave.rollout.ledger import Ledger
from sealwave.rollout.machine import CheckResult, MachineStatus, Operation
from sealwave.rollout.model import Node, Pod, PoolSpec, Workload


@dataclass(frozen=True, kw_only=True)
class Sight:
    """One node as seen from the API server and from its own machine API."""

    node: Node | None = None  # None: the API server has no such node.
    machine: MachineStatus | None = None  # None: not asked, or no answer (`problem` says why).
    problem: str = ""
    operation: Operation | None = None
    checks: CheckResult | None = None
    pods: tuple[Pod, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Observation:
    """Everything that one step decides from. ``previous`` is the time of the driver's pass before this one."""

    pool: PoolSpec
    sights: Mapping[str, Sight] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    workloads: Mapping[str, Workload] | None = None
    stopping: bool = False
    previous: float | None = None

    def sight(self, name: str) -> Sight:
        """What is known of node `name`."""
        return self.sights.get(name, Sight())
