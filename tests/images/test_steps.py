from __future__ import annotations

import os
from pathlib import Path

import pytest

from sealwave.images import steps
from sealwave.images.steps import StepEvent, cached_step, step_key


def test_a_key_covers_inputs_and_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_HERE", tmp_path)
    (tmp_path / "a.py").write_text("1")
    one = step_key("tree", {"x": 1}, ["a.py"])
    assert one == step_key("tree", {"x": 1}, ["a.py"])
    assert one != step_key("tree", {"x": 2}, ["a.py"])
    assert one != step_key("other", {"x": 1}, ["a.py"])
    (tmp_path / "a.py").write_text("2")
    assert one != step_key("tree", {"x": 1}, ["a.py"])


def test_a_step_is_done_once(tmp_path: Path) -> None:
    events: list[StepEvent] = []
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "result").write_text("x")

    for _ in range(2):
        result = cached_step("tree", "tree-1", cache=tmp_path, make=make, progress=events.append)
        assert (result / "result").read_text() == "x"
    assert len(made) == 1
    assert [(event.step, event.state) for event in events] == [
        ("tree", "started"),
        ("tree", "finished"),
        ("tree", "started"),
        ("tree", "reused"),
    ]


def test_a_step_that_fails_leaves_nothing_and_is_done_again(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cached_step("tree", "tree-1", cache=tmp_path, make=fail, progress=lambda event: None)
    assert list((tmp_path / "steps").iterdir()) == []


def test_the_oldest_results_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "KEPT", 2)
    for number in range(4):
        result = cached_step("s", f"s-{number}", cache=tmp_path, make=lambda folder: None, progress=lambda event: None)
        os.utime(result, (number, number))
    assert {path.name for path in (tmp_path / "steps").iterdir()} == {"s-2", "s-3"}
