"""What is written down while gates hold: enough to follow, and no record per pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sealwave.rollout.journal import parse
from sealwave.rollout.machine import MachineStatus
from tests.rollout.world import V3, World, make_pool, make_world


class Counting:
    """A machine whose kubelet restarts again and again, and says how often."""

    def __init__(self, machine: Any, world: World) -> None:
        self._machine, self._world = machine, world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    def status(self) -> MachineStatus:
        found: MachineStatus = self._machine.status()
        return replace(found, kubelet_detail=f"restarted {int(self._world.now)} times")


def test_a_counter_in_the_evidence_is_not_a_record_per_pass() -> None:
    world = make_world(v3="no-kubelet")
    world.wrap = lambda machine: Counting(machine, world)
    pool = make_pool(V3)
    outcome = world.run(pool)
    assert outcome.result == "halted"
    lines = world.cluster.objects[("Journal", "workers")].spec["records"]
    records = [parse(line, journal="workers", position=0) for line in lines]
    held = [record for record in records if record.kind == "state" and record.data.get("noted")]
    assert 1 <= len(held) <= 1 + pool.deadlines.verify // 30
    # The last word is exact: what the gate saw when it failed.
    assert "restarted" in outcome.nodes[0].gates["ready"]
    assert outcome.nodes[0].gates["ready"] in outcome.summary
