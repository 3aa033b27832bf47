"""The summary for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

__all__ = ["short", "summary_table"]


def summary_table(report: Mapping[str, Any]) -> Group:
    """Rollouts, nodes and step times."""
    versions = {image["digest"]: f"{image['name']} {image['version']}" for image in report["images"]}

    def named(digest: str | None) -> str:
        return versions.get(digest or "", short(digest))

    reasons: list[Text] = []
    rollouts = Table(title="rollouts", title_justify="left")
    for column in ("rollout", "ended", "node", "wave", "state", "image after", "evicted", "429"):
        rollouts.add_column(column, overflow="fold")
    for rollout in report["rollouts"]:
        for index, node in enumerate(rollout["outcome"]["nodes"]):
            first = index == 0
            tally = node["evictions"]
            rollouts.add_row(
                rollout["title"] if first else "",
                f"{rollout['outcome']['result']}, pulumi {rollout['exitStatus']}" if first else "",
                node["node"],
                str(node["wave"] or ""),
                node["state"],
                named(node["digest"]),
                str(tally["granted"]),
                str(tally["refused"]),
            )
            if node["reason"]:
                # A sentence is no cell: it gets the whole width below.
                reasons.append(Text(f"{rollout['title']}, {node['node']}: {node['reason']}"))
    nodes = Table(title="nodes at the end, as they say themselves", title_justify="left")
    for column in ("node", "image", "boot", "root hash", "secure boot", "drift"):
        nodes.add_column(column, overflow="fold")
    for node in (report["final"] or {"nodes": []})["nodes"]:
        drift = "unknown" if node["drift"] is None else ", ".join(node["drift"]) or "none"
        secure = {True: "on", False: "off", None: "unknown"}[node["secure_boot"]]
        nodes.add_row(node["node"], named(node["digest"]), node["boot"][:8], node["root_hash"][:12], secure, drift)
    steps = Table(title=f"steps ({report['accelerator'] or 'no machine was started'})", title_justify="left")
    steps.add_column("step", overflow="fold")
    steps.add_column("seconds", justify="right")
    for step in report["steps"]:
        steps.add_row(step["title"], f"{step['seconds']:.0f}")
    steps.add_row("all", f"{report['seconds']:.0f}")
    return Group(rollouts, *reasons, nodes, steps)


def short(digest: str | None) -> str:
    """As much of a digest as a person compares."""
    return (digest or "unknown")[:19]
