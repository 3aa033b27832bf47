"""A real cluster behind the `Cluster` protocol: the few calls that a rollout makes, and how their answers are read.

Only the fields that a rollout needs are kept; nothing of an object is written but what a patch names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sealwave.rollout.cluster import Eviction, NodePatch, Stored
from sealwave.rollout.errors import AddonMissing, Conflict
from sealwave.rollout.kubeapi import KubeApi, NotFound, TooManyRequests
from sealwave.rollout.model import Json, Node, Pod, Workload

# Up to so many nodes their pods are asked for node by node; beyond it one list of all pods is cheaper.
_BY_NODE = 16
_GROUP = "/apis/sealwave.dev/v1alpha1"
_PLURAL = {"Ledger": "ledgers", "Journal": "journals"}
_MIRROR = "kubernetes.io/config.mirror"
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


class KubeCluster:
    """One cluster, over one `KubeApi`."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    def nodes(self) -> tuple[Node, ...]:
        """Every node."""
        return tuple(read_node(item) for item in self._api.items("/api/v1/nodes"))

    def pods(self, nodes: Collection[str]) -> tuple[Pod, ...]:
        """The pods on `nodes`."""
        if len(nodes) > _BY_NODE:
            every = (read_pod(item) for item in self._api.items("/api/v1/pods"))
            return tuple(pod for pod in every if pod.node in nodes)
        return tuple(
            read_pod(item)
            for name in sorted(nodes)
            for item in self._api.items("/api/v1/pods", fieldSelector=f"spec.nodeName={name}")
        )

    def workloads(self) -> Mapping[str, Workload]:
        """Deployments and StatefulSets by "namespace/Kind/name"."""
        found = {}
        for kind, path in (("Deployment", "/apis/apps/v1/deployments"), ("StatefulSet", "/apis/apps/v1/statefulsets")):
            for item in self._api.items(path):
                workload = read_workload(kind, item)
                found[workload.key] = workload
        return found

    def patch_node(self, name: str, patch: NodePatch) -> Node:
        """Apply `patch` in one call; Conflict when the node is another version by now, or gone."""
        body: Json = {
            "metadata": {"resourceVersion": patch.resource_version, "annotations": dict(patch.annotations)},
            "spec": {"unschedulable": True if patch.unschedulable else None},
        }
        try:
            return read_node(self._api.patch(f"/api/v1/nodes/{name}", body))
        except NotFound as error:
            raise Conflict(f"node {name}") from error

    def evict(self, *, namespace: str, pod: str, uid: str) -> Eviction:
        """Ask for the pod with this UID to leave; another pod of the same name is none of our business."""
        body: Json = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        try:
            self._api.create(f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", body)
        except TooManyRequests as error:
            return Eviction(answer="refused", detail=error.detail)
        except (NotFound, Conflict) as error:
            return Eviction(answer="gone", detail=str(error))
        return Eviction(answer="granted")

    def read_object(self, kind: str, name: str) -> Stored | None:
        """One of our objects; None when it is not there. AddonMissing without its definition."""
        try:
            return _stored(self._api.get(f"{_GROUP}/{_PLURAL[kind]}/{name}"))
        except NotFound as error:
            if error.name:
                return None
            raise AddonMissing(kind) from error

    def write_object(self, kind: str, name: str, spec: Json, *, resource_version: str) -> Stored:
        """Compare-and-swap; an empty `resource_version` creates. Conflict when it is another version by now."""
        path = f"{_GROUP}/{_PLURAL[kind]}"
        metadata = {"name": name} | ({"resourceVersion": resource_version} if resource_version else {})
        body: Json = {"apiVersion": "sealwave.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
        try:
            if resource_version:
                return _stored(self._api.replace(f"{path}/{name}", body))
            return _stored(self._api.create(path, body))
        except NotFound as error:
            if error.name:
                raise Conflict(f"{kind} {name}") from error
            raise AddonMissing(kind) from error


def _stored(item: Json) -> Stored:
    return Stored(spec=item.get("spec", {}), resource_version=item["metadata"]["resourceVersion"])


def read_node(item: Json) -> Node:
    """A Node object, reduced."""
    meta, spec, status = item["metadata"], item.get("spec", {}), item.get("status", {})
    ready, detail = _ready(status)
    addresses = {entry["type"]: entry["address"] for entry in status.get("addresses", ())}
    labels = meta.get("labels", {})
    taints = {taint.get("key", "") for taint in spec.get("taints") or ()}
    return Node(
        name=meta["name"],
        uid=meta.get("uid", ""),
        resource_version=meta.get("resourceVersion", ""),
        labels=labels,
        annotations=meta.get("annotations", {}),
        unschedulable=bool(spec.get("unschedulable", False)),
        ready=ready,
        ready_detail=detail,
        boot_id=status.get("nodeInfo", {}).get("bootID", ""),
        address=addresses.get("InternalIP", ""),
        control_plane=any(name in labels or name in taints for name in _CONTROL_PLANE),
    )


def _ready(status: Json) -> tuple[bool | None, str]:
    for condition in status.get("conditions", ()):
        if condition.get("type") == "Ready":
            known: dict[str, bool] = {"True": True, "False": False}
            said = ": ".join(filter(None, (condition.get("reason", ""), condition.get("message", ""))))
            return known.get(condition.get("status", "")), said
    return None, "the kubelet has never reported"


def read_pod(item: Json) -> Pod:
    """A Pod object, reduced."""
    meta, spec, status = item["metadata"], item.get("spec", {}), item.get("status", {})
    owner: Json = next((owner for owner in meta.get("ownerReferences", ()) if owner.get("controller")), {})
    annotations = meta.get("annotations", {})
    return Pod(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        node=spec.get("nodeName", ""),
        controller=owner.get("kind", ""),
        workload=_workload_key(meta, owner),
        mirror=_MIRROR in annotations,
        static_uid=annotations.get(_MIRROR, ""),
        empty_dir=any("emptyDir" in volume for volume in spec.get("volumes", ())),
        finished=status.get("phase") in ("Succeeded", "Failed"),
        terminating="deletionTimestamp" in meta,
        ready=any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions", ())),
    )


def _workload_key(meta: Json, owner: Json) -> str:
    """What brings the pod back. A Deployment names its ReplicaSet after itself and the hash in the pod's label."""
    kind, name = owner.get("kind", ""), owner.get("name", "")
    if not kind:
        return ""
    suffix = "-" + meta.get("labels", {}).get("pod-template-hash", "\0")
    if kind == "ReplicaSet" and name.endswith(suffix):
        kind, name = "Deployment", name.removesuffix(suffix)
    return f"{meta['namespace']}/{kind}/{name}"


def read_workload(kind: str, item: Json) -> Workload:
    """A Deployment or StatefulSet, reduced."""
    meta = item["metadata"]
    return Workload(
        key=f"{meta['namespace']}/{kind}/{meta['name']}",
        desired=int(item.get("spec", {}).get("replicas", 1)),
        ready=int(item.get("status", {}).get("readyReplicas", 0)),
    )
