"""The HTML page, and the JSON beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from sealwave.infra.report.table import short
from sealwave.infra.report.timeline import Timeline, timeline
from sealwave.signing.files import write_atomic

__all__ = ["render", "write_report"]


def write_report(report: Mapping[str, Any], folder: Path) -> Path:
    """Write report.json and report.html whole; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "report.json", json.dumps(report, indent=1, sort_keys=True).encode())
    page = folder / "report.html"
    write_atomic(page, render(report).encode())
    return page


def render(report: Mapping[str, Any]) -> str:
    """The page as text."""
    versions = {image["digest"]: f"{image['name']} {image['version']}" for image in report["images"]}

    def named(sentence: str) -> str:
        """The sentence with the names of images for their digests, whole or short; a command stays as it is typed."""
        for digest, name in versions.items():
            sentence = re.sub(rf"(?<!release-digest )(?:{digest}|{short(digest)}(?![0-9a-f]))", name, sentence)
        return sentence

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sealwave.infra.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": short, "clock": _clock, "when": _when, "named": named}
    drawn: list[Timeline] = [timeline(rollout) for rollout in report["rollouts"]]
    return environment.get_template("report.html.j2").render(report=report, versions=versions, timelines=drawn)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
