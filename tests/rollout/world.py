"""A world in memory: three nodes with machines, a deployment, and a clock that only moves when told.

Machines implement the production interface. What an image does when it boots is a row of `BEHAVIOUR`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from sealwave.rollout import Deadlines, Driver, Fleet, Outcome, PoolSpec, Progress, Timing
from sealwave.rollout.errors import MachineRefused, MachineUnreachable
from sealwave.rollout.machine import Call, CheckResult, Machine, MachineStatus, Operation
from sealwave.rollout.model import Node, Pod
from tests.rollout.fake_cluster import Deployment, FakeCluster

V1, V2, V3 = (f"sha256:{digit * 64}" for digit in "123")
BOOT_S = 4.0
COMMIT_WINDOW_S = 120.0
LABELS = {"example.com/pool": "workers"}

Behaviour = Literal["good", "no-kubelet", "panics", "hangs", "checks-fail", "no-pods"]


@dataclass
class FakeMachine:
    """One machine with two slots; `world` boots it."""

    name: str
    world: World
    running: str = V1
    committed: str = V1
    other: str | None = None
    one_shot: str | None = None
    boot: int = 1
    back_at: float | None = None  # Rebooting until then.
    booted_at: float = 0.0
    boot_reason: str = "first-boot"
    fence: int = 0
    staging: str | None = None
    stage_problem: str = ""
    dead: bool = False
    calls: list[str] = field(default_factory=list)

    @property
    def boot_id(self) -> str:
        return f"00000000-0000-0000-{int(self.name[-1]):04d}-{self.boot:012d}"

    def _answering(self) -> None:
        if self.dead or self.back_at is not None:
            raise MachineUnreachable(self.name, "https://fake", "connection refused")

    def _changing(self, call: Call, what: str) -> None:
        self._answering()
        if call.fence < self.fence:
            raise self._no("stale_fence", f"a driver with fence {self.fence} was here")
        self.fence = call.fence
        if call.boot_id != self.boot_id:
            raise self._no("boot_id_mismatch", "another boot")
        self.calls.append(what)

    def _no(self, code: str, detail: str) -> MachineRefused:
        return MachineRefused(self.name, code=code, detail=detail, status=409)

    def status(self) -> MachineStatus:
        self._answering()
        behaviour = self.world.behaviour(self.running)
        return MachineStatus(
            machine=self.name,
            boot_id=self.boot_id,
            digest=self.running,
            root_hash=self.running[7:],
            committed=self.running == self.committed,
            activated=self.one_shot,
            staged=self.other,
            fence=self.fence,
            kubelet_active=behaviour != "no-kubelet",
            kubelet_detail="" if behaviour != "no-kubelet" else "exit code 1",
            boot_reason=self.boot_reason,
        )

    def operation(self, operation_id: str) -> Operation:
        self._answering()
        if self.staging:
            self.other, self.staging = self.staging, None
        return Operation(id=operation_id, kind="stage", state="succeeded", progress=1.0)

    def checks(self) -> CheckResult:
        self._answering()
        failed = self.world.behaviour(self.running) == "checks-fail"
        return CheckResult(passed=not failed, failures=("gpu: missing",) if failed else ())

    def drift(self) -> tuple[str, ...]:
        self._answering()
        return ()

    def raise_fence(self, fence: int) -> MachineStatus:
        self._answering()
        if fence < self.fence:
            raise self._no("stale_fence", f"a driver with fence {self.fence} was here")
        self.fence = fence
        return self.status()

    def stage(self, call: Call, *, digest: str, source: str) -> Operation:
        self._changing(call, "stage")
        if self.stage_problem:
            raise self._no(self.stage_problem, "as the test wants it")
        if self.other == digest:
            raise self._no("already_staged", "it is in the other slot")
        self.other, self.staging = None, digest
        return Operation(id=f"op-{digest[7:11]}", kind="stage", state="running")

    def activate(self, call: Call, *, digest: str) -> MachineStatus:
        self._changing(call, "activate")
        if self.other != digest:
            raise self._no("not_staged", "the other slot holds another image")
        self.one_shot = digest
        return self.status()

    def commit(self, call: Call, *, digest: str) -> MachineStatus:
        self._changing(call, "commit")
        if self.running != digest:
            raise self._no("digest_mismatch", "another image runs")
        self.committed = digest
        self.world.seen("commit", self.name)
        return self.status()

    def rollback(self, call: Call, *, reason: str) -> None:
        self._changing(call, "rollback")
        self.one_shot = None
        if self.running != self.committed:
            self._restart("rolled-back")

    def reboot(self, call: Call, *, remaining_pods: tuple[str, ...]) -> Operation:
        self._changing(call, "reboot")
        if any(pod.node == self.name and not pod.terminating for pod in self.world.cluster.pod_map.values()):
            raise self._no("drain_proof_required", "pods still run")
        self._restart("activated" if self.one_shot else "normal")
        return Operation(id="op-reboot", kind="reboot", state="running")

    def _restart(self, reason: str) -> None:
        previous = self.running
        self.running = self.one_shot or self.committed
        self.other = previous if self.running != previous else self.other
        self.one_shot = None
        self.boot_reason = reason
        self.back_at = self.world.now + BOOT_S
        self.boot += 1
        self.world.kubelet(self, up=False)
        if self.world.behaviour(self.running) == "panics":
            # It never answers from this boot: the next one is the committed slot again.
            self.running, self.other = self.committed, self.running
            self.boot_reason = "normal"
            self.boot += 1
        if self.world.behaviour(self.running) == "hangs":
            self.dead = True

    def pass_time(self, now: float) -> None:
        if self.dead:
            return
        if self.back_at is not None and now >= self.back_at:
            self.back_at, self.booted_at = None, now
            self.world.kubelet(self, up=self.world.behaviour(self.running) != "no-kubelet")
        expired = now - self.booted_at >= COMMIT_WINDOW_S
        if self.back_at is None and self.running != self.committed and expired:
            self._restart("window-expired")


@dataclass
class World:
    """Cluster, machines, clock; `seen` hears of every change and is where a test checks what must always hold."""

    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    now: float = 1_000_000.0
    cluster: FakeCluster = field(default_factory=FakeCluster)
    machines: dict[str, FakeMachine] = field(default_factory=dict)
    seen: Callable[[str, str], None] = lambda verb, name: None
    serial: int = 0
    wrap: Callable[[Machine], Machine] = lambda machine: machine

    def of(self, node: str, url: str) -> Machine:
        return self.wrap(self.machines[node])

    def behaviour(self, digest: str) -> Behaviour:
        return self.behaviours.get(digest, "good")

    def clock(self) -> float:
        self.now += 0.01
        return self.now

    def advance(self, seconds: float | None) -> None:
        self.now += seconds or 0.0
        for machine in self.machines.values():
            machine.pass_time(self.now)
        self.schedule()

    def kubelet(self, machine: FakeMachine, *, up: bool) -> None:
        node = self.cluster.node_map[machine.name]
        if up:
            self.cluster.put_node(replace(node, ready=True, ready_detail="", boot_id=machine.boot_id))
        else:
            self.cluster.put_node(replace(node, ready=None, ready_detail="NodeStatusUnknown"))

    def schedule(self) -> None:
        """The controller and the scheduler: missing pods start on nodes that take them."""
        hosts = [node.name for node in self.cluster.nodes() if node.ready and not node.unschedulable]
        for deployment in self.cluster.deployments.values():
            while hosts and self.cluster.count(deployment.key) < deployment.desired:
                self.serial += 1
                load = {name: len(self.cluster.pods({name})) for name in hosts}
                host = min(hosts, key=lambda name: (load[name], name))
                starts = self.behaviour(self.machines[host].running) != "no-pods"
                self.cluster.put_pod(pod(f"web-{self.serial}", host, workload=deployment.key, ready=starts))

    def fleet(self) -> Fleet:
        return Fleet(cluster=self.cluster, machines=self)

    def driver(self, pool: PoolSpec, **changes: object) -> Driver:
        timing = Timing(poll=1.0, grace=20.0)
        return Driver(pool, self.fleet(), who="test", timing=timing, clock=self.clock, sleep=self.advance)

    def run(self, pool: PoolSpec, report: Callable[[Progress], None] = lambda progress: None) -> Outcome:
        return self.driver(pool).run(Stop(self), report)


class Stop(threading.Event):
    """A stop request whose waiting moves the world's clock; `at` sets it at that time."""

    def __init__(self, world: World, at: float | None = None, limit: float = 50_000.0) -> None:
        super().__init__()
        self.world, self.at, self.end = world, at, world.now + limit

    def wait(self, timeout: float | None = None) -> bool:
        self.world.advance(timeout)
        if self.at is not None and self.world.now >= self.at:
            self.set()
        assert self.world.now < self.end, "the rollout does not come to an end"
        return self.is_set()


def pod(name: str, node: str, *, workload: str = "", controller: str = "ReplicaSet", ready: bool = True) -> Pod:
    """A running pod; its uid follows from its name."""
    uid = f"uid-{name}"
    return Pod(
        namespace="default", name=name, uid=uid, node=node, controller=controller, workload=workload, ready=ready
    )


def make_world(nodes: int = 3, *, replicas: int = 3, min_available: int = 2, **behaviours: Behaviour) -> World:
    """`nodes` nodes on V1 with a deployment of `replicas` pods spread over them; v2="panics" sets a behaviour."""
    digests = {"v1": V1, "v2": V2, "v3": V3}
    world = World(behaviours={digests[name]: behaviour for name, behaviour in behaviours.items()})
    for number in range(1, nodes + 1):
        name = f"node-{number}"
        world.machines[name] = FakeMachine(name=name, world=world)
        node = Node(name=name, uid=f"uid-{name}", labels=LABELS, ready=True, address=f"192.0.2.{number}")
        world.cluster.put_node(replace(node, boot_id=world.machines[name].boot_id))
    world.cluster.deployments["default/Deployment/web"] = Deployment("default/Deployment/web", replicas, min_available)
    world.cluster.watch = lambda verb, name: world.seen(verb, name)
    world.schedule()
    return world


def make_pool(digest: str = V2, *, waves: tuple[int, ...] = (1, 2)) -> PoolSpec:
    """The pool of `make_world`, with windows that suit its clock."""
    deadlines = Deadlines(
        stage=60, cordon=30, evict=120, replace=60, boot=60, verify=30, workload=60, unwind=60, attempts=3
    )
    return PoolSpec(
        name="workers",
        selector=LABELS,
        digest=digest,
        source="https://images.example.com/" + digest[7:11],
        waves=waves,
        deadlines=deadlines,
    )
