"""The configuration of each lab machine: made, signed, and read back once as the node will read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from securesystemslib.signer import Signer

from sealwave.images.agent.config import PAYLOAD_TYPE, read_blob
from sealwave.infra.lab.joining import BootstrapToken
from sealwave.infra.lab.machine import MACHINE_API
from sealwave.signing import dsse

__all__ = ["POOL_LABEL", "POOL_VALUE", "Surroundings", "machine_config", "signed_disk"]

# A user's label, as a user would choose one: the rollout's own labels are never selected by.
POOL_LABEL = "example.com/pool"
POOL_VALUE = "workers"
# Seconds from power-on to commit. Under emulation, three machines at once, Ready takes up to 200; the rest is the
# driver's to verify and commit.
COMMIT_WINDOW = 900
# Bytes to which the disk is padded: virtio disks have whole sectors, and the size then tells nothing about the content.
DISK_SIZE = 64 * 1024


@dataclass(frozen=True)
class Surroundings:
    """What all machines of a lab are told alike; addresses as a machine sees them, authorities in PEM."""

    api_server: str
    enrolment: str
    cluster_authority: bytes
    machine_authority: bytes
    web_authority: bytes


def machine_config(
    surroundings: Surroundings, *, machine: str, number: int, token: BootstrapToken, secret: str
) -> Mapping[str, Any]:
    """The payload for one machine (schema: images/agent/config.schema.json)."""
    return {
        "apiVersion": "sealwave.dev/v1",
        "kind": "MachineConfig",
        "machine": machine,
        "cluster": {
            "server": surroundings.api_server,
            "ca": surroundings.cluster_authority.decode("ascii"),
            "bootstrapToken": str(token),
        },
        "nodeLabels": {POOL_LABEL: POOL_VALUE},
        "podCIDR": f"10.244.{number}.0/24",
        "enrolment": {
            "url": f"{surroundings.enrolment}/v1/enrol",
            "ca": surroundings.web_authority.decode("ascii"),
            "secret": secret,
        },
        "machineAPI": {"clientCA": surroundings.machine_authority.decode("ascii"), "port": MACHINE_API},
        "images": {"ca": surroundings.web_authority.decode("ascii")},
        "commitWindowSeconds": COMMIT_WINDOW,
    }


def signed_disk(config: Mapping[str, Any], *, signer: Signer, public: bytes) -> bytes:
    """The bytes of the configuration disk: the signed envelope and zeros.

    The node's own reader checks it here, so that a machine never boots with a blob that it will refuse.
    """
    payload = json.dumps(config, sort_keys=True).encode()
    envelope = dsse.sign(payload, payload_type=PAYLOAD_TYPE, signer=signer)
    read_blob(envelope, key=public)
    return envelope.ljust(-(-len(envelope) // DISK_SIZE) * DISK_SIZE, b"\0")
