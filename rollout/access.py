"""Where the driver's rights come from: a folder of credentials becomes a `Fleet` to speak with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sealwave.rollout.cluster import Cluster
from sealwave.rollout.machine import Machines

CALL_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Fleet:
    """A cluster and the machines behind its nodes."""

    cluster: Cluster
    machines: Machines


def connect(credentials: Path, *, role: str = "updater", timeout: float = CALL_TIMEOUT_S) -> Fleet:
    """Open the folder `credentials`: kubeconfig, machine-ca.pem, ROLE.pem, ROLE.key.

    `role` is ``updater`` for the driver and ``observer`` for preview and status. `timeout` in seconds bounds every
    single call. Raises CredentialsMissing or ClusterUnreachable.
    """
    raise NotImplementedError
