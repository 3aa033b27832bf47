"""`sealwave rollout`: what would be rolled, how a pool stands, and lifting the refusal of an image."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from sealwave.infra.cli.poolfile import read_pool
from sealwave.rollout.access import connect
from sealwave.rollout.outcome import NodeStatus, PoolStatus
from sealwave.rollout.view import preview, release_digest
from sealwave.rollout.view import status as pool_status

LAB_CREDENTIALS = Path("build/lab/credentials")
"""Where the lab of this checkout keeps them, so that its users need not say it."""

LOOK_SECONDS = 5.0
"""How long one machine or the API server may take to answer."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def credentials_option(command: _Command) -> _Command:
    """Add the option that names the driver's folder."""
    return click.option(
        "--credentials",
        type=click.Path(file_okay=False, path_type=Path),
        default=LAB_CREDENTIALS,
        show_default=True,
        help="The folder with kubeconfig, machine-ca.pem and the client certificates.",
    )(command)


def _pool_argument(command: _Command) -> _Command:
    return click.argument("pool", type=click.Path(dir_okay=False, path_type=Path))(command)


def _json_option(command: _Command) -> _Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for another program.")(command)


@click.group()
def rollout() -> None:
    """Plan a rollout, look at a pool, release an image that was refused.

    POOL is a YAML file with the settings of a pool (name, selector, digest, source, waves), or a stack file of the
    reference program. Rolling itself is `pulumi up`.
    """


@rollout.command()
@_pool_argument
@credentials_option
@_json_option
def plan(pool: Path, credentials: Path, as_json: bool) -> None:
    """Show the waves with their nodes, and touch nothing."""
    spec = read_pool(pool)
    made = preview(spec, connect(credentials, role="observer", timeout=LOOK_SECONDS))
    if as_json:
        click.echo(json.dumps(made.to_json(), indent=2))
        return
    if made.empty:
        click.echo(f"every node of the pool {made.pool} already runs {made.digest}: no node would be touched")
        return
    table = Table("wave", "node", "why", title=f"{made.pool} -> {made.digest[:19]}", title_justify="left")
    for wave in made.waves:
        for node in wave.nodes:
            table.add_row(str(wave.number), node, made.reasons.get(node, ""))
    for node in made.right:
        table.add_row("-", node, made.reasons.get(node, "runs it already"))
    _console().print(table)


@rollout.command()
@_pool_argument
@credentials_option
@_json_option
def status(pool: Path, credentials: Path, as_json: bool) -> None:
    """Show how every node of the pool stands now, as the cluster and the node itself say."""
    found = pool_status(read_pool(pool), connect(credentials, role="observer", timeout=LOOK_SECONDS))
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
        return
    for warning in found.warnings:
        click.echo(f"sealwave: warning: {warning}", err=True)
    _console().print(_status_table(found))
    for digest, reason in found.refused.items():
        click.echo(f"refused: {digest} ({reason})")
    click.echo(f"{found.phase}; fence {found.fence}; journal of {found.records} records, head {found.head or 'none'}")


@rollout.command("release-digest")
@click.argument("digest")
@click.option("--reason", required=True, help="Why the image may be rolled again; it is journaled.")
@credentials_option
def release(digest: str, reason: str, credentials: Path) -> None:
    """Lift the refusal of an image that failed on a node. The reason and your name are journaled."""
    release_digest(connect(credentials, role="updater"), digest, reason=reason, who=_user())
    click.echo(f"{digest} may be rolled again")


def _user() -> str:
    """Who runs this; a user without a name, as in a container, is its number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _status_table(found: PoolStatus) -> Table:
    title = f"{found.pool}, wanted {found.digest[:19]}"
    table = Table("node", "image", "ready", "cordoned by", "secure boot", "stands", title=title, title_justify="left")
    for node in found.nodes:
        table.add_row(
            node.node,
            (node.digest or "unknown")[:19],
            _said(node.ready),
            (node.owner or "someone else") if node.cordoned else "",
            _said(node.secure_boot),
            _stands(node),
        )
    return table


def _stands(node: NodeStatus) -> str:
    if node.quarantined:
        return f"quarantined: {node.quarantined}"
    if not node.reachable:
        return node.problem or "does not answer"
    if node.drift:
        return f"drifted: {', '.join(node.drift)}"
    if node.right:
        return "right"
    return "not committed" if node.committed is False else "another image" if not node.cordoned else "cordoned"


def _said(value: bool | None) -> str:
    return "unknown" if value is None else "yes" if value else "no"


def _console() -> Console:
    """A console that never cuts a line of a table when nobody watches: a pipe has no width."""
    console = Console()
    return console if console.is_terminal else Console(width=200)
