"""The kubelet's files, as functions of the machine's configuration. Nothing is read or written here.

The node joins as Kubernetes wants it: a bootstrap token buys a client certificate once (TLS bootstrap), the key is made
by the kubelet itself and stays on the data partition, and later boots present that certificate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sealwave.images.agent.config import MachineConfig

__all__ = ["CLIENT_CERTIFICATE", "KUBELET_PKI", "bridge_network", "environment", "kubeconfig", "settings"]

KUBELET_PKI = "/data/identity/kubelet"
# The name that the kubelet gives to the certificate that it uses now.
CLIENT_CERTIFICATE = f"{KUBELET_PKI}/kubelet-client-current.pem"


def settings(api_ca: str, image_settings: Mapping[str, Any]) -> dict[str, Any]:
    """The KubeletConfiguration; the image's own settings win, field by field at the top level.

    Args:
        api_ca: path of the cluster's authority.
        image_settings: what the image's spec says about its kubelet.
    """
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": api_ca},
        },
        "authorization": {"mode": "Webhook"},
        "readOnlyPort": 0,
        "rotateCertificates": True,
        "cgroupDriver": "systemd",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        # Images come with the node image and from no registry: what was collected as garbage would not come back.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        # The root is read-only, and there is neither a resolver's file nor iptables in it.
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "resolvConf": "",
        "makeIPTablesUtilChains": False,
        "failSwapOn": True,
        **image_settings,
    }


def environment(config: MachineConfig) -> str:
    """The variables of the kubelet's unit."""
    labels = ",".join(f"{key}={value}" for key, value in sorted(config.node_labels.items()))
    return f"NODE_NAME={config.machine}\nNODE_LABELS={labels}\n"


def kubeconfig(config: MachineConfig, *, api_ca: str, user: Mapping[str, str]) -> bytes:
    """A kubeconfig (JSON, which YAML includes) with one cluster and one user.

    `user` holds the user's members: a `token`, or `client-certificate` and `client-key`.
    """
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": {"server": config.api_server, "certificate-authority": api_ca}}],
        "users": [{"name": "node", "user": dict(user)}],
        "contexts": [{"name": "node", "context": {"cluster": "cluster", "user": "node"}}],
        "current-context": "node",
    }
    return json.dumps(document, indent=1).encode()


def bridge_network(pod_cidr: str) -> bytes:
    """The CNI configuration: pods of this machine on one bridge, with addresses from the machine's range."""
    document = {
        "cniVersion": "1.0.0",
        "name": "sealwave",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni/addresses",
                    "ranges": [[{"subnet": pod_cidr}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "loopback"},
        ],
    }
    return json.dumps(document, indent=1).encode()
