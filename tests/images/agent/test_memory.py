from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sealwave.images.agent.errors import PlatformFailed
from sealwave.images.agent.memory import Answer, Memory, MemoryFile, Operation, OperationState
from sealwave.images.agent.slots import Slot
from sealwave.images.agent.window import Activation, Boot, BootReason, History, Leaving

FULL = Memory(
    fence=7,
    history=History(
        Boot("boot", BootReason.ACTIVATED), Activation("sha256:1", Slot.B, armed=True, booted="boot"), Leaving.ROLLBACK
    ),
    writing=Slot.A,
    operations={"x": Operation("x", "stage", "boot", "sha256:1", OperationState.FAILED, 0.5, 12, {"code": "internal"})},
    answers={"key": Answer("request", 200, {"fence": 7})},
)


def write(file: MemoryFile, memory: Memory) -> None:
    with file.change() as change:
        change.memory = memory


def test_round_trip(tmp_path: Path) -> None:
    write(MemoryFile(tmp_path), FULL)
    assert MemoryFile(tmp_path).read() == FULL
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600


def test_nothing_yet(tmp_path: Path) -> None:
    assert MemoryFile(tmp_path / "agent").read() == Memory()


def test_an_error_leaves_what_was_saved(tmp_path: Path) -> None:
    file = MemoryFile(tmp_path)
    with pytest.raises(RuntimeError), file.change() as change:
        change.memory = replace(change.memory, fence=3)
        change.save()
        change.memory = replace(change.memory, fence=4)
        raise RuntimeError
    assert file.read().fence == 3


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"version": 2}', '{"version": 1, "fence": "x"}'])
def test_spoiled_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(PlatformFailed, match="spoiled"):
        MemoryFile(tmp_path).read()


def test_a_newer_agents_memory_is_read(tmp_path: Path) -> None:
    write(MemoryFile(tmp_path), FULL)
    document = json.loads((tmp_path / "state.json").read_text())
    document |= {"version": 2, "shards": [1], "leaving": "moved", "writing": "c", "answers": {"of": "another form"}}
    document["boot"]["reason"] = "kexec"
    document["operations"] += [{**document["operations"][0], "id": "y", "state": "paused"}]
    del document["activation"]["armed"]
    (tmp_path / "state.json").write_text(json.dumps(document))
    found = MemoryFile(tmp_path).read()
    assert found == Memory(fence=7, operations=FULL.operations)


def test_old_records_are_forgotten(tmp_path: Path) -> None:
    memory = Memory()
    for number in range(100):
        memory = memory.with_answer(f"key-{number}", Answer("r", 200, {}))
        memory = memory.with_operation(replace(FULL.operations["x"], id=str(number)))
    assert list(memory.answers)[-1] == "key-99"
    assert (len(memory.answers), len(memory.operations)) == (64, 32)
