"""Kubelets without machines: Node objects and pods at a real API server, moved as real kubelets move them.

What is real: API server, scheduler, controller manager, and so Deployments, disruption budgets and evictions. What is
simulated: the kubelet, by one thread that looks a few times a second. It registers a Node per machine, keeps it Ready
while the machine is up and its kubelet works, reports the machine's boot id, runs the pods that the scheduler gives to
the node, and ends those that were deleted. Nodes are NotReady while their machine is away.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import requests

from sealwave.infra.lab.cluster import Cluster, Document

LOOK_SECONDS = 0.15
"""How often the simulated kubelets look at the API server and at their machines."""

ANSWER_SECONDS = 20.0
"""How long the API server may take; two cores are shared with a whole control plane and a Pulumi engine."""

_MERGE = "application/merge-patch+json"


class Machine(Protocol):
    """What a kubelet shows of the machine that it runs on."""

    @property
    def name(self) -> str:
        """The node's name."""

    @property
    def up(self) -> bool:
        """False from the instant of a reboot until the next boot runs."""

    @property
    def boot_id(self) -> str:
        """The boot that runs now."""

    @property
    def kubelet_works(self) -> bool:
        """False where the running image's kubelet cannot start."""

    def set_pods(self, pods: Sequence[tuple[str, str, str]]) -> None:
        """Take the pods (namespace, name, uid) that run on the machine, for its own answer about them."""


class Kubelets:
    """The simulated kubelets of some machines, as a context manager that ends its thread and deletes its nodes."""

    def __init__(self, cluster: Cluster, machines: Sequence[Machine], *, labels: dict[str, str]) -> None:
        self._machines = {machine.name: machine for machine in machines}
        self._labels = labels
        self._base = cluster.url
        self._http = requests.Session()
        # An environment that names a bundle of authorities would win over ours.
        self._http.trust_env = False
        self._http.verify = str(cluster.authority)
        self._http.cert = (str(cluster.certificate), str(cluster.key))
        self._shown: dict[str, tuple[bool, str]] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._live, name="kubelets", daemon=True)
        self.failures: list[str] = []

    def __enter__(self) -> Kubelets:
        """Register the nodes and start."""
        for name in self._machines:
            self.register(name)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread, then remove nodes and their pods."""
        self._end.set()
        self._thread.join(30)
        for pod in self._pods():
            self._remove(pod)
        for name in self._machines:
            self._call("DELETE", f"/api/v1/nodes/{name}")

    def register(self, name: str) -> None:
        """Make the Node object, Ready and free to be scheduled on."""
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {**self._labels, "kubernetes.io/hostname": name}},
        }
        self._call("POST", "/api/v1/nodes", node)
        self._show(name, self._machines[name])
        # Admission marks every new node as not ready, and the controller that takes the mark away does not run here.
        self._call("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": None}})

    def patch_node(self, name: str, patch: Document) -> None:
        """Change a Node object as an administrator would."""
        self._call("PATCH", f"/api/v1/nodes/{name}", patch)

    def _live(self) -> None:
        while not self._end.wait(LOOK_SECONDS):
            try:
                self._look()
            except (requests.RequestException, KeyError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")

    def _look(self) -> None:
        for name, machine in self._machines.items():
            self._show(name, machine)
        running: dict[str, list[tuple[str, str, str]]] = {name: [] for name in self._machines}
        for pod in self._pods():
            name, meta = pod["spec"]["nodeName"], pod["metadata"]
            if not self._shown[name][0]:
                continue
            if "deletionTimestamp" in meta:
                self._remove(pod)
                continue
            if pod["status"].get("phase") == "Pending":
                self._run(pod)
            running[name].append((meta["namespace"], meta["name"], meta["uid"]))
        for name, pods in running.items():
            self._machines[name].set_pods(pods)

    def _show(self, name: str, machine: Machine) -> None:
        """Write the node's status when it changed: a kubelet that does not run says nothing new about its boot."""
        ready = machine.up and machine.kubelet_works
        known = self._shown.get(name, (False, ""))
        wanted = (ready, machine.boot_id if ready else known[1])
        if wanted == known and name in self._shown:
            return
        now = _now()
        condition = {
            "type": "Ready",
            "status": "True" if ready else "Unknown",
            "reason": "KubeletReady" if ready else "NodeStatusUnknown",
            "message": "simulated" if ready else "Kubelet stopped posting node status.",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        resources = {"cpu": "4", "memory": "4Gi", "pods": "50"}
        status: Document = {
            "conditions": [condition],
            "capacity": resources,
            "allocatable": resources,
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        }
        if wanted[1]:
            status["nodeInfo"] = {
                **dict.fromkeys(
                    ("architecture", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion", "kubeletVersion"),
                    "",
                ),
                **dict.fromkeys(("machineID", "operatingSystem", "osImage", "systemUUID"), ""),
                "bootID": wanted[1],
            }
        self._call("PATCH", f"/api/v1/nodes/{name}/status", {"status": status})
        self._shown[name] = wanted

    def _pods(self) -> list[Document]:
        found = self._call("GET", "/api/v1/pods")["items"]
        return [pod for pod in found if pod["spec"].get("nodeName") in self._machines]

    def _run(self, pod: Document) -> None:
        now = _now()
        status = {
            "phase": "Running",
            "startTime": now,
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": now}
                for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
            ],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "simulated",
                    "ready": True,
                    "restartCount": 0,
                    "started": True,
                    "state": {"running": {"startedAt": now}},
                }
                for container in pod["spec"]["containers"]
            ],
        }
        self._call("PATCH", f"{_path(pod)}/status", {"status": status})

    def _remove(self, pod: Document) -> None:
        self._call("DELETE", _path(pod), {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}})

    def _call(self, method: str, path: str, body: Any = None) -> Document:
        """Make one call; what is gone already (404, 409) is as good as done."""
        headers = {"Content-Type": _MERGE if method == "PATCH" else "application/json"}
        answer = self._http.request(method, self._base + path, json=body, headers=headers, timeout=ANSWER_SECONDS)
        if answer.status_code not in (requests.codes.not_found, requests.codes.conflict):
            answer.raise_for_status()
        return dict(answer.json())


def _path(pod: Document) -> str:
    meta = pod["metadata"]
    return f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def workload(name: str, *, replicas: int, available: int) -> list[Document]:
    """A Deployment spread over the nodes, and the budget that keeps `available` of its pods running."""
    labels = {"app": name}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "topologySpreadConstraints": [spread],
                    "containers": [{"name": "main", "image": "sealwave.local/pause:1"}],
                },
            },
        },
    }
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"minAvailable": available, "selector": {"matchLabels": labels}},
    }
    return [deployment, budget]
