"""Every instant at which a driver can die, in small worlds: what must always hold does, and the end is the same.

A driver's writes are numbered: each change of the cluster, the ledger, the journal and a machine. For every number a
world is made in which the driver is killed before that write, and one in which it is killed after it took effect; then
another driver resumes. The invariants are checked after every single change of the world.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest

from sealwave.rollout import Fleet, Outcome
from sealwave.rollout import observe as observing
from sealwave.rollout.driver import Driver, Timing
from sealwave.rollout.errors import DigestRefused, Fenced, RolloutError
from tests.rollout.world import V1, V2, V3, FakeMachine, Stop, World, make_pool, make_world

WRITES = ("patch_node", "evict", "write_object", "raise_fence", "stage", "activate", "commit", "rollback", "reboot")
Instant = Literal["before", "after"]


class Killed(BaseException):
    """SIGKILL."""


@dataclass
class Writes:
    """Numbers every write of one driver; at one of them something happens."""

    at: int = -1
    when: Instant = "before"
    then: Callable[[], None] = lambda: None
    count: int = 0
    names: list[str] = field(default_factory=list)

    def call(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        number, self.count = self.count, self.count + 1
        self.names.append(name)
        if number == self.at and self.when == "before":
            self.then()
        result = function(*args, **kwargs)
        if number == self.at and self.when == "after":
            self.then()
        return result


class Watched:
    """A cluster or a machine whose writes are numbered."""

    def __init__(self, inner: Any, writes: Writes) -> None:
        self._inner, self._writes = inner, writes

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in WRITES:
            return found
        return lambda *args, **kwargs: self._writes.call(name, found, *args, **kwargs)


def drive(world: World, digest: str, writes: Writes, *, stop_at: float | None = None) -> Outcome:
    class Machines:
        def of(self, node: str, url: str) -> Any:
            return Watched(world.machines[node], writes)

    fleet = Fleet(cluster=Watched(world.cluster, writes), machines=Machines())
    driver = Driver(
        make_pool(digest), fleet, who="explorer", timing=Timing(poll=1.0), clock=world.clock, sleep=world.advance
    )
    return driver.run(Stop(world, at=stop_at), lambda progress: None)


def guard(world: World) -> None:
    """Check what must always hold, at every change."""

    def seen(verb: str, name: str) -> None:
        machine: FakeMachine | None = world.machines.get(name)
        if verb == "uncordon":
            assert machine and machine.running == machine.committed, "uncordoned before the commit"
            assert machine.one_shot is None, "uncordoned with an activation pending"
        if verb == "evict":
            assert world.cluster.node_map[name].unschedulable, "drained without a cordon"
        away = [node for node in world.cluster.nodes() if node.unschedulable or not node.ready]
        assert len(away) <= 2, f"beyond the budget: {[node.name for node in away]}"
        for node in world.cluster.nodes():
            assert not node.unschedulable or node.owner == "sealwave/workers", f"{node.name} is cordoned and unowned"
        tried = [name for name, machine in world.machines.items() if V3 in (machine.running, machine.committed)]
        assert V3 not in world.behaviours or len(tried) <= 1, f"a bad image on {tried}"

    world.seen = seen


def check_good_end(world: World, outcome: Outcome) -> None:
    assert outcome.result == "converged", outcome.summary
    for name, machine in world.machines.items():
        assert (machine.running, machine.committed) == (V2, V2)
        assert not world.cluster.node_map[name].unschedulable
        assert not world.cluster.node_map[name].annotations
    assert world.cluster.objects[("Ledger", "cluster")].spec["pools"]["workers"]["claims"] == []


def check_bad_end(world: World, outcome: Outcome) -> None:
    ledger = world.cluster.objects[("Ledger", "cluster")].spec
    assert outcome.result == "halted", outcome.summary
    assert [entry["digest"] for entry in ledger["refused"]] == [V3]
    assert [entry["node"] for entry in ledger["quarantined"]] == ["node-1"]
    assert ledger["pools"]["workers"]["claims"] == []
    assert world.machines["node-1"].committed == V1
    for name in ("node-2", "node-3"):
        assert world.machines[name].calls == []
        assert not world.cluster.node_map[name].unschedulable


@dataclass(frozen=True)
class Scenario:
    name: str
    digest: str
    behaviours: dict[str, Any]
    check: Callable[[World, Outcome], None]

    def world(self) -> World:
        world = make_world(**self.behaviours)
        guard(world)
        return world


SCENARIOS = [
    Scenario("good", V2, {}, check_good_end),
    Scenario("no kubelet", V3, {"v3": "no-kubelet"}, check_bad_end),
    Scenario("panics", V3, {"v3": "panics"}, check_bad_end),
]


@pytest.fixture(autouse=True)
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of the writes have to be the same in every run."""
    monkeypatch.setattr(observing, "PARALLEL", 1)


def kill() -> None:
    raise Killed


def total(scenario: Scenario) -> int:
    world, writes = scenario.world(), Writes()
    scenario.check(world, drive(world, scenario.digest, writes))
    return writes.count


def resume(scenario: Scenario, world: World) -> None:
    """Another driver, until the end."""
    try:
        scenario.check(world, drive(world, scenario.digest, Writes()))
    except DigestRefused:
        # The kill came after everything was done but the last words of the journal.
        assert scenario.digest == V3
        assert not world.cluster.objects[("Ledger", "cluster")].spec["pools"]["workers"]["claims"]
        drive(world, V1, Writes())
        assert_all_on(world, V1)


def assert_all_on(world: World, digest: str) -> None:
    for name, machine in world.machines.items():
        assert (machine.running, machine.committed) == (digest, digest)
        assert not world.cluster.node_map[name].unschedulable


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_killed_at_every_write_and_resumed(scenario: Scenario, when: Instant) -> None:
    for number in range(total(scenario)):
        world, writes = scenario.world(), Writes(at=number, when=when, then=kill)
        with pytest.raises(Killed):
            drive(world, scenario.digest, writes)
        resume(scenario, world)


@pytest.mark.parametrize("scenario", SCENARIOS[:2], ids=lambda scenario: scenario.name)
def test_killed_and_away_longer_than_the_commit_window(scenario: Scenario) -> None:
    """The node goes back by itself; that is `expired` and no judgement about the image."""
    for number in range(0, total(scenario), 3):
        world, writes = scenario.world(), Writes(at=number, when="after", then=kill)
        with pytest.raises(Killed):
            drive(world, scenario.digest, writes)
        for _ in range(300):
            world.advance(1.0)
        resume(scenario, world)


def test_killed_twice() -> None:
    scenario = SCENARIOS[0]
    count = total(scenario)
    for first in range(0, count, 11):
        for second in range(1, count, 13):
            world = scenario.world()
            with pytest.raises(Killed):
                drive(world, scenario.digest, Writes(at=first, when="after", then=kill))
            try:
                drive(world, scenario.digest, Writes(at=second, when="before", then=kill))
            except Killed:
                resume(scenario, world)


def test_killed_and_every_mark_of_ours_removed() -> None:
    scenario = SCENARIOS[0]
    for number in range(total(scenario)):
        world, writes = scenario.world(), Writes(at=number, when="after", then=kill)
        with pytest.raises(Killed):
            drive(world, scenario.digest, writes)
        if writes.names[-1] == "patch_node" and any(node.unschedulable for node in world.cluster.nodes()):
            # A cordon without our mark that the journal does not know as done is a person's, and is left to them.
            continue
        for node in world.cluster.nodes():
            world.cluster.put_node(replace(node, annotations={}))
        world.seen = lambda verb, name: None
        resume(scenario, world)


def test_killed_and_another_image_wanted() -> None:
    """What is in flight comes to a safe end first; then everything goes to the other image."""
    scenario = SCENARIOS[0]
    for number in range(0, total(scenario), 2):
        world, writes = scenario.world(), Writes(at=number, when="after", then=kill)
        with pytest.raises(Killed):
            drive(world, V2, writes)
        outcome = drive(world, V1, Writes())
        assert outcome.result == "converged", outcome.summary
        assert_all_on(world, V1)


def test_a_person_stops_at_any_time_and_the_next_run_resumes() -> None:
    scenario = SCENARIOS[0]
    for seconds in range(1, 80, 2):
        world = scenario.world()
        outcome = drive(world, V2, Writes(), stop_at=world.now + seconds)
        if outcome.result == "held":
            for node in world.cluster.nodes():
                assert not node.unschedulable or world.machines[node.name].running != V1 or node.ready is not True
        resume(scenario, world)


@pytest.mark.parametrize("scenario", SCENARIOS[:2], ids=lambda scenario: scenario.name)
def test_a_driver_suspended_at_any_write_changes_nothing_afterwards(scenario: Scenario) -> None:
    """SIGSTOP in the middle of a call; another driver takes over and finishes; SIGCONT."""
    for number in range(total(scenario)):
        world = scenario.world()
        frozen: dict[str, Any] = {}

        def take_over(world: World = world, frozen: dict[str, Any] = frozen) -> None:
            try:
                outcome = drive(world, scenario.digest, Writes())
            except DigestRefused:
                return  # Nothing is left to be taken over.
            scenario.check(world, outcome)
            if outcome.touched:
                frozen.update(picture(world))

        writes = Writes(at=number, when="before", then=take_over)
        try:
            outcome = drive(world, scenario.digest, writes)
            # Only its very first write, the fence itself, may be won again by the one that was suspended.
            assert (number == 0 or not frozen) and outcome.result in ("converged", "halted"), number
        except RolloutError as error:
            assert isinstance(error, Fenced) or number == 0, error
        if frozen and number:
            assert picture(world) == frozen


def picture(world: World) -> dict[str, Any]:
    return {
        "nodes": {node.name: (node.unschedulable, dict(node.annotations)) for node in world.cluster.nodes()},
        "machines": {
            name: (machine.running, machine.committed, machine.one_shot, machine.boot)
            for name, machine in world.machines.items()
        },
        "ledger": world.cluster.objects[("Ledger", "cluster")].spec,
        "journal": world.cluster.objects[("Journal", "workers")].spec,
    }
