"""What runs on the lab's nodes while they are replaced: a Deployment and the disruption budget that guards it.

Four pods on three nodes, of which three must be there at any time: so one pod at a time may be evicted, and whoever
drains a node with two pods, or two nodes at once, is refused with 429 until the pod that left is back elsewhere.
"""

from __future__ import annotations

from sealwave.infra.lab.cluster import Document
from sealwave.infra.lab.config import POOL_LABEL, POOL_VALUE

__all__ = ["IMAGE", "MIN_AVAILABLE", "NAME", "NAMESPACE", "REPLICAS", "documents"]

NAMESPACE = "demo"
NAME = "service"
REPLICAS = 4
MIN_AVAILABLE = 3
# Imported into containerd from the node's own image: there is no registry.
IMAGE = "sealwave.local/pause:1"
# Seconds after which a pod of a node that is gone is made anew elsewhere. A node that emulation slows down may miss a
# heartbeat or two, and is not to lose its pods for it.
PATIENCE = 120
LABELS = {"app": NAME}


def documents() -> list[Document]:
    """Namespace, Deployment and PodDisruptionBudget, in the order in which they can be applied."""
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"minAvailable": MIN_AVAILABLE, "selector": {"matchLabels": LABELS}},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {
                "replicas": REPLICAS,
                "selector": {"matchLabels": LABELS},
                "template": {"metadata": {"labels": LABELS}, "spec": _pod()},
            },
        },
    ]


def _pod() -> Document:
    gone = [
        {
            "key": f"node.kubernetes.io/{what}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": PATIENCE,
        }
        for what in ("not-ready", "unreachable")
    ]
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "nodeTaintsPolicy": "Honor",
        "labelSelector": {"matchLabels": LABELS},
    }
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 2,
        "nodeSelector": {POOL_LABEL: POOL_VALUE},
        "topologySpreadConstraints": [spread],
        "tolerations": gone,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "runAsGroup": 65534},
        "containers": [
            {
                "name": "main",
                "image": IMAGE,
                "imagePullPolicy": "Never",
                "resources": {"requests": {"cpu": "10m", "memory": "8Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }
