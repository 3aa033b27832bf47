"""`sealwave node`: what one node says of itself, asked with the observer's certificate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import urllib3

from sealwave.infra.cli.rollout import credentials_option
from sealwave.infra.errors import InfraError
from sealwave.rollout.access import connect
from sealwave.rollout.errors import BadInput, CredentialsMissing, MachineRefused, MachineUnreachable
from sealwave.signing.tls import client_context

ANSWER_SECONDS = 10.0
"""How long a node may take to answer."""

PORT = 9443
"""Where the machine API listens on a node."""


class NodeUnknown(InfraError):
    """The cluster has no such node, or does not know its address."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"the cluster knows no address of a node {name}; give the right name, or its address by --url")


@click.group()
def node() -> None:
    """Ask one node what it runs. Every answer is JSON, as the machine API's document describes it."""


def _ask(path: str, summary: str) -> click.Command:
    """Make the command for one endpoint."""

    @click.argument("name")
    @click.option("--url", help="The machine API's address; by default port 9443 of the node's internal address.")
    @credentials_option
    def ask(name: str, url: str | None, credentials: Path) -> None:
        if url and not url.startswith("https://"):
            raise BadInput(f"--url {url}: a machine is asked over https:// only")
        address = url or _address(name, credentials)
        click.echo(json.dumps(_get(address, path, machine=name, credentials=credentials), indent=2))

    ask.__doc__ = summary
    return click.command(path)(ask)


for _path, _summary in (
    ("status", "Show what runs now: image, slot, boot, whether it is committed, pods."),
    ("slots", "Show both slots with the image that each holds."),
    ("drift", "Show what differs between the running node and its image's manifest."),
    ("checks", "Run the node's own checks and show their results."),
    ("version", "Show the version of the agent's API and of the running image."),
):
    node.add_command(_ask(_path, _summary))


def _address(name: str, credentials: Path) -> str:
    """Where the node's machine API is, as the cluster knows it."""
    fleet = connect(credentials, role="observer", timeout=ANSWER_SECONDS)
    for found in fleet.cluster.nodes():
        if found.name == name and found.address:
            host = f"[{found.address}]" if ":" in found.address else found.address
            return f"https://{host}:{PORT}"
    raise NodeUnknown(name)


def _get(url: str, path: str, *, machine: str, credentials: Path) -> dict[str, Any]:
    """One answer; the certificate must prove the machine's name, whatever the address is."""
    authority, certificate, key = (credentials / name for name in ("machine-ca.pem", "observer.pem", "observer.key"))
    for file in (authority, certificate, key):
        if not file.is_file():
            raise CredentialsMissing(str(file), "is no file")
    context = client_context(authority.read_bytes(), certificate=certificate, key=key)
    with urllib3.PoolManager(
        ssl_context=context, assert_hostname=machine, server_hostname=machine, retries=False, timeout=ANSWER_SECONDS
    ) as pool:
        try:
            answer = pool.request("GET", f"{url.rstrip('/')}/v1/{path}")
            body: dict[str, Any] = json.loads(answer.data)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise MachineUnreachable(machine, url, str(error)[:200]) from error
    if answer.status != 200:
        detail, code = str(body.get("detail", answer.reason)), str(body.get("code", "unknown"))
        raise MachineRefused(machine, code=code, detail=detail, status=answer.status)
    return body
