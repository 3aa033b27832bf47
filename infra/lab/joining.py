"""How a new node gets its credentials: Kubernetes' TLS bootstrap, one short-lived token for each machine.

With its token a kubelet may ask for one thing, a client certificate as a node; the controller manager approves the
request of a bootstrapping node and, later, a node's own renewal. From then on the Node authorizer holds it to itself.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sealwave.infra.lab.cluster import Cluster, Document

__all__ = ["BootstrapToken", "allow_joining", "token_secret"]

GROUP = "system:bootstrappers:sealwave"
# A machine under emulation needs two minutes; a person who debugs its first boot needs an hour.
TOKEN_LIFE = timedelta(hours=4)
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
# Role bindings of the TLS bootstrap: name of ours -> (cluster role of Kubernetes, group that gets it).
BINDINGS = {
    "sealwave-lab-bootstrap": ("system:node-bootstrapper", GROUP),
    "sealwave-lab-approve-first": ("system:certificates.k8s.io:certificatesigningrequests:nodeclient", GROUP),
    "sealwave-lab-approve-renewal": (
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        "system:nodes",
    ),
}


@dataclass(frozen=True)
class BootstrapToken:
    """A bootstrap token: a public id (6 characters) and a secret (16)."""

    id: str
    secret: str

    @classmethod
    def generate(cls) -> BootstrapToken:
        """A new random token."""
        draw = ["".join(secrets.choice(ALPHABET) for _ in range(length)) for length in (6, 16)]
        return cls(draw[0], draw[1])

    def __repr__(self) -> str:
        return f"BootstrapToken({self.id})"

    def __str__(self) -> str:
        return f"{self.id}.{self.secret}"


def token_secret(token: BootstrapToken, *, machine: str, now: datetime) -> Document:
    """The object that makes the API server accept this token until it runs out."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": f"bootstrap-token-{token.id}", "namespace": "kube-system"},
        "stringData": {
            "description": f"first boot of {machine}",
            "token-id": token.id,
            "token-secret": token.secret,
            "expiration": (now + TOKEN_LIFE).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": GROUP,
        },
    }


def allow_joining(cluster: Cluster) -> None:
    """Give bootstrapping nodes and nodes the rights above; nothing changes when they have them."""
    cluster.apply(_binding(name, role, group) for name, (role, group) in BINDINGS.items())


def _binding(name: str, role: str, group: str) -> Document:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
    }
