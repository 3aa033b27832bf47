"""The instant of the kill is read from the journal."""

import json
from typing import Any

from sealwave.infra.demo.resume import activated
from sealwave.rollout.effects import Activate, Effect, Reboot


def _line(kind: str, node: str, effect: Effect) -> str:
    data: dict[str, Any] = {"intent": 1, "effect": effect.to_json()} if kind == "done" else effect.to_json()
    return json.dumps({"kind": kind, "node": node, "data": data})


def test_an_activation_counts_when_it_is_done() -> None:
    activate = Activate(node="node-1", digest="sha256:" + "1" * 64, boot_id="boot")
    intended = [_line("intent", "node-1", activate)]
    assert activated([]) is None
    assert activated(intended) is None
    done = [*intended, _line("done", "node-1", activate)]
    assert activated(done) == "node-1"
    reboot = Reboot(node="node-2", boot_id="boot", remaining=())
    assert activated([_line("done", "node-2", reboot), *done]) == "node-1"
