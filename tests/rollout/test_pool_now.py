"""The pool's nodes while a rollout runs: who joined, and whose clock it is."""

from __future__ import annotations

from dataclasses import replace

from sealwave.rollout import Progress
from tests.rollout.world import V2, Stop, World, make_pool, make_world


def test_a_control_plane_node_that_joins_is_not_passed_over_in_silence() -> None:
    world = make_world(4, replicas=2, min_available=1)
    late = world.cluster.node_map.pop("node-4")

    def join(progress: Progress) -> None:
        if progress.text == "node-1 is done":
            world.cluster.put_node(replace(late, control_plane=True))

    outcome = world.run(make_pool(V2), join)
    assert outcome.result == "held"
    assert "a control-plane node joined that the pool does not name: node-4" in outcome.summary
    assert world.machines["node-4"].calls == []


def test_the_count_at_the_end_is_of_nodes_that_run_the_image() -> None:
    world = make_world(4, replicas=2, min_available=1)

    def leave(progress: Progress) -> None:
        if progress.kind == "begin":
            del world.cluster.node_map["node-4"]

    assert "all 3 nodes run" in world.run(make_pool(V2), leave).summary


class Backwards(Stop):
    """A stop request, after which the clock is set back by two hours."""

    def __init__(self, world: World, at: float) -> None:
        super().__init__(world, at=at)
        self.done = False

    def is_set(self) -> bool:
        found = super().is_set()
        if found and not self.done:
            self.done = True
            self.world.now -= 7200
        return found


def test_a_stop_ends_also_when_the_clock_is_set_back() -> None:
    world = make_world(min_available=3)
    began = world.now
    outcome = world.driver(make_pool(V2)).run(Backwards(world, began + 15), lambda progress: None)
    assert outcome.result == "held"
    assert world.now - (began - 7200) < 120
