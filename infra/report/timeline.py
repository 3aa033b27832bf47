"""Where each bar of a rollout's drawing lies: one lane for each node, time to the right. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["COLOURS", "Bar", "Lane", "Timeline", "timeline"]

# One colour for each state that lasts; told apart without red against green.
COLOURS = {
    "Claimed": "#9ecae1",
    "Cordoning": "#c6b1e1",
    "Quiescing": "#a68bd0",
    "Evicting": "#fdae61",
    "Replacing": "#6b7280",
    "Booting": "#374151",
    "Verifying": "#f2d14b",
    "Releasing": "#7cc6a4",
    "Unwinding": "#e08bb5",
    "Failed": "#b2182b",
    "Done": "#1b7f5c",
    "Deferred": "#bdbdbd",
}
# States in which nothing happens: drawn as an empty lane.
STILL = frozenset({"Pending"})
LANE_HEIGHT = 34
LEFT = 90
WIDTH = 1000
TICKS = (5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)


@dataclass(frozen=True)
class Bar:
    """One state of a node; x and width in the drawing's units."""

    x: float
    width: float
    colour: str
    state: str
    seconds: float


@dataclass(frozen=True)
class Lane:
    """One node's bars; y is the lane's top."""

    node: str
    y: int
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Timeline:
    """A drawing; ticks are (x, seconds from the begin)."""

    title: str
    height: int
    lanes: tuple[Lane, ...]
    ticks: tuple[tuple[float, int], ...]
    states: tuple[tuple[str, str], ...]


def timeline(rollout: Mapping[str, Any]) -> Timeline:
    """The drawing of one rollout, as report.json holds it."""
    spans = [span for span in rollout["timeline"] if span["state"] not in STILL]
    names = sorted({node["node"] for node in rollout["outcome"]["nodes"]} | {span["node"] for span in spans})
    begin = min((span["begin"] for span in spans), default=0.0)
    total = max((span["end"] for span in spans), default=begin) - begin or 1.0
    scale = (WIDTH - LEFT) / total

    def bar(span: Mapping[str, Any]) -> Bar:
        seconds = span["end"] - span["begin"]
        x = LEFT + (span["begin"] - begin) * scale
        return Bar(round(x, 2), round(seconds * scale, 2), COLOURS[span["state"]], span["state"], seconds)

    lanes = tuple(
        Lane(name, 8 + index * LANE_HEIGHT, tuple(bar(span) for span in spans if span["node"] == name))
        for index, name in enumerate(names)
    )
    step = next((tick for tick in TICKS if total / tick <= 10), TICKS[-1])
    ticks = tuple((round(LEFT + at * scale, 2), at) for at in range(0, math.floor(total) + 1, step))
    used = {span["state"] for span in spans}
    states = tuple((state, colour) for state, colour in COLOURS.items() if state in used)
    return Timeline(rollout["title"], 8 + len(names) * LANE_HEIGHT + 24, lanes, ticks, states)
