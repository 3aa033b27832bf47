"""A fleet and a log that tests write by hand."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sealwave.infra.provider.enginelog import Severity
from sealwave.infra.provider.resource import Session
from sealwave.rollout.model import NodeState, Phase, Plan, PoolSpec, Wave
from sealwave.rollout.outcome import NodeResult, NodeStatus, Outcome, PoolStatus, Progress

V1, V2 = "sha256:" + "1" * 64, "sha256:" + "2" * 64
POOL = {
    "name": "workers",
    "selector": {"example.com/pool": "workers"},
    "digest": V2,
    "source": "https://images.example/v2",
    "waves": [1, 2],
}


def node(
    name: str, *, digest: str = V2, right: bool = True, drift: tuple[str, ...] = (), quarantined: str = ""
) -> NodeStatus:
    return NodeStatus(
        node=name,
        ready=True,
        cordoned=False,
        owner="",
        reachable=True,
        digest=digest,
        committed=True,
        right=right,
        drift=drift,
        quarantined=quarantined,
    )


def pool_status(*nodes: NodeStatus, phase: Phase = Phase.Converged, warnings: Sequence[str] = ()) -> PoolStatus:
    return PoolStatus(pool="workers", digest=V2, phase=phase, nodes=nodes, head="ab" * 32, warnings=tuple(warnings))


CONVERGED = Outcome(
    result="converged",
    summary="every node runs v2",
    pool="workers",
    digest=V2,
    fence=1,
    head="ab" * 32,
    records=9,
    nodes=(NodeResult(node="node-1", wave=1, state=NodeState.Done, digest=V2),),
)


@dataclass
class FakeFleet:
    status: PoolStatus = field(default_factory=lambda: pool_status(node("node-1"), node("node-2")))
    waves: tuple[Wave, ...] = (Wave(1, ("node-1",)), Wave(2, ("node-2", "node-3")))
    outcome: Outcome = CONVERGED
    progress: tuple[Progress, ...] = ()
    waits_for_stop: bool = False
    rolled: list[PoolSpec] = field(default_factory=list)
    looked: int = 0

    def look(self, spec: PoolSpec) -> PoolStatus:
        self.looked += 1
        return self.status

    def plan(self, spec: PoolSpec) -> Plan:
        return Plan(pool=spec.name, digest=spec.digest, waves=self.waves)

    def roll(self, spec: PoolSpec, stop: threading.Event, report: Callable[[Progress], None]) -> Outcome:
        self.rolled.append(spec)
        for item in self.progress:
            report(item)
        if self.waits_for_stop:
            assert stop.wait(30)
            return replace(self.outcome, result="held", summary="the rollout is held at a safe place")
        return self.outcome


@dataclass
class Lines:
    """A session's lines by kind."""

    said: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    passing: list[str] = field(default_factory=list)

    def session(self) -> Session:
        return Session(
            urn="urn",
            say=self.said.append,
            pass_by=self.passing.append,
            warn=self.warned.append,
            stop=threading.Event(),
        )

    def line(self, urn: str, text: str, *, severity: Severity = Severity.INFO, passing: bool = False) -> None:
        (self.passing if passing else self.warned if severity is Severity.WARNING else self.said).append(text)
