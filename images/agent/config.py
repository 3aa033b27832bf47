"""The machine's configuration: one signed blob on a small read-only disk.

Rules:
1. Nothing of the blob is used before its signature by the configuration key was verified.
2. The blob is a DSSE envelope at the start of the disk, followed by zero bytes only.
3. Its payload satisfies `config.schema.json`; an unknown key is an error, because it may be a misspelt one.

Pure: bytes in, value out.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator

from sealwave.images.agent.errors import ConfigUnusable
from sealwave.signing import dsse
from sealwave.signing.errors import SigningError

__all__ = ["BLOB_LIMIT", "PAYLOAD_TYPE", "MachineConfig", "parse_config", "read_blob"]

PAYLOAD_TYPE = "application/vnd.sealwave.config+json"
# Bytes; a blob holds four certificates and a few names, which is under 16 KiB.
BLOB_LIMIT = 1024 * 1024


@dataclass(frozen=True)
class MachineConfig:
    """What one machine is told at power-on; certificates are PEM."""

    machine: str
    api_server: str
    api_ca: str
    bootstrap_token: str
    node_labels: Mapping[str, str]
    pod_cidr: str
    enrolment_url: str
    enrolment_ca: str
    enrolment_secret: str
    client_ca: str
    port: int
    images_ca: str
    commit_window_seconds: int

    def __repr__(self) -> str:
        """Name the machine only: two fields are secrets, and a repr ends in logs."""
        return f"MachineConfig(machine={self.machine!r})"


def read_blob(blob: bytes, *, key: bytes) -> MachineConfig:
    """The configuration in the bytes of the configuration disk, signed by `key` (PEM public key).

    Raises ConfigUnusable when the blob is absent, too large, not signed by the key, or does not fit the schema.
    """
    envelope = blob.rstrip(b"\0")
    if not envelope:
        raise ConfigUnusable("the configuration disk is empty")
    if len(envelope) > BLOB_LIMIT:
        raise ConfigUnusable(f"it has more than {BLOB_LIMIT} bytes")
    try:
        payload = dsse.verify(envelope, payload_type=PAYLOAD_TYPE, keys=[key])
    except SigningError as error:
        raise ConfigUnusable(f"its signature does not hold ({error})") from error
    return parse_config(payload)


def parse_config(payload: bytes) -> MachineConfig:
    """The value of a payload whose signature the caller has verified; raises ConfigUnusable."""
    try:
        document: Any = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ConfigUnusable("its payload is not JSON") from error
    problem = next(iter(_validator().iter_errors(document)), None)
    if problem is not None:
        place = "/".join(str(part) for part in problem.absolute_path) or "its top level"
        # The message of a schema error quotes the value, and some values are secrets: only the place and rule are told.
        raise ConfigUnusable(f"{place} breaks the rule {problem.validator!r} of config.schema.json")
    try:
        ipaddress.ip_network(document["podCIDR"])
    except ValueError as error:
        raise ConfigUnusable("podCIDR is not a network") from error
    return MachineConfig(
        machine=document["machine"],
        api_server=document["cluster"]["server"],
        api_ca=document["cluster"]["ca"],
        bootstrap_token=document["cluster"]["bootstrapToken"],
        node_labels=dict(document["nodeLabels"]),
        pod_cidr=document["podCIDR"],
        enrolment_url=document["enrolment"]["url"],
        enrolment_ca=document["enrolment"]["ca"],
        enrolment_secret=document["enrolment"]["secret"],
        client_ca=document["machineAPI"]["clientCA"],
        port=document["machineAPI"]["port"],
        images_ca=document["images"]["ca"],
        commit_window_seconds=document["commitWindowSeconds"],
    )


@cache
def _validator() -> Draft202012Validator:
    schema = json.loads(files("sealwave.images.agent").joinpath("config.schema.json").read_text())
    return Draft202012Validator(schema)
