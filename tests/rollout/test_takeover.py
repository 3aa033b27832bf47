"""A driver that was stopped in the middle of a call, and wakes when another one has rolled another image."""

from __future__ import annotations

from typing import Any

import pytest

from sealwave.rollout import observe as observing
from sealwave.rollout.errors import Fenced, RolloutError
from tests.rollout.test_explore import Writes, assert_all_on, drive, picture
from tests.rollout.world import V1, V2, make_world


def test_suspended_at_any_write_while_another_image_is_rolled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finding: a cordon that was stopped before it was sent still fitted the node's version, and was nobody's."""
    monkeypatch.setattr(observing, "PARALLEL", 1)
    count = Writes()
    drive(make_world(), V2, count)
    for number in range(1, count.count):
        world = make_world()
        frozen: dict[str, Any] = {}

        def take_over(world: Any = world, frozen: dict[str, Any] = frozen) -> None:
            outcome = drive(world, V1, Writes())
            assert outcome.result == "converged", outcome.summary
            assert_all_on(world, V1)
            assert not any(node.annotations for node in world.cluster.nodes())
            if outcome.touched:
                frozen.update(picture(world))

        try:
            drive(world, V2, Writes(at=number, when="before", then=take_over))
            assert not frozen, number
        except RolloutError as error:
            assert isinstance(error, Fenced), error
        if frozen:
            assert picture(world) == frozen, (number, count.names[number])
