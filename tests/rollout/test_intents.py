"""Intent before effect, done after: for every write of the driver to cluster and machines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.rollout.test_explore import Writes, drive
from tests.rollout.world import V2, V3, make_world

KINDS = {
    "patch_node": {"Cordon", "Touch", "Uncordon"},
    "evict": {"Evict"},
    "raise_fence": {"RaiseFence"},
    "stage": {"Stage"},
    "activate": {"Activate"},
    "reboot": {"Reboot"},
    "commit": {"Commit"},
    "rollback": {"Rollback"},
}


@pytest.mark.parametrize("digest", [V2, V3])
def test_every_effect_is_in_the_journal_as_an_intent_before_it_is_tried_and_as_done_after(digest: str) -> None:
    world = make_world(v3="no-kubelet")
    tried: list[str] = []

    class Checked(Writes):
        def call(self, name: str, function: Any, *args: Any, **kwargs: Any) -> Any:
            if name in KINDS:
                records = [json.loads(line) for line in world.cluster.objects[("Journal", "workers")].spec["records"]]
                done = {record["data"]["intent"] for record in records if record["kind"] == "done"}
                intents = [record for record in records if record["kind"] == "intent" and record["seq"] not in done]
                assert any(record["data"]["kind"] in KINDS[name] for record in intents), name
                tried.append(name)
            return super().call(name, function, *args, **kwargs)

    drive(world, digest, Checked())
    records = [json.loads(line) for line in world.cluster.objects[("Journal", "workers")].spec["records"]]
    intents = [record["seq"] for record in records if record["kind"] == "intent"]
    done = [record["data"]["intent"] for record in records if record["kind"] == "done"]
    assert intents == done
    assert set(tried) >= {"patch_node", "evict", "stage", "activate", "reboot", "raise_fence"}
    assert "commit" in tried or "rollback" in tried
