"""Where the driver's rights come from: a folder of credentials becomes a `Fleet` to speak with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sealwave.rollout.cluster import Cluster
from sealwave.rollout.errors import CredentialsMissing
from sealwave.rollout.https_machine import HttpsMachines
from sealwave.rollout.kubeapi import KubeApi
from sealwave.rollout.kubecluster import KubeCluster
from sealwave.rollout.machine import Machines

# Seconds for one call. A loaded API server answers a list of a few hundred objects in less than one.
CALL_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Fleet:
    """A cluster and the machines behind its nodes."""

    cluster: Cluster
    machines: Machines


def connect(
    credentials: Path, *, role: str = "updater", timeout: float = CALL_TIMEOUT_S, context: str | None = None
) -> Fleet:
    """Open the folder `credentials`: kubeconfig, machine-ca.pem, ROLE.pem, ROLE.key. Nothing is connected yet.

    `role` is ``updater`` for the driver and ``observer`` for preview and status. `timeout` in seconds bounds every
    single call. Raises CredentialsMissing.
    """
    if not credentials.is_dir():
        raise CredentialsMissing(str(credentials), "is no folder")
    api = KubeApi.from_kubeconfig(credentials / "kubeconfig", context=context, timeout=timeout)
    machines = HttpsMachines(
        authority=credentials / "machine-ca.pem",
        certificate=credentials / f"{role}.pem",
        key=credentials / f"{role}.key",
        timeout=timeout,
    )
    return Fleet(cluster=KubeCluster(api), machines=machines)
