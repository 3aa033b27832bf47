"""One suite for the cluster in memory and for a real API server: what the driver relies on holds in both."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sealwave.infra.lab.controlplane import ControlPlane
from sealwave.infra.lab.supervisor import ADDON
from sealwave.rollout.cluster import Cluster, NodePatch
from sealwave.rollout.errors import AddonMissing, ClusterForbidden, ClusterUnreachable, Conflict, CredentialsMissing
from sealwave.rollout.kubeapi import KubeApi
from sealwave.rollout.kubecluster import KubeCluster
from sealwave.rollout.ledger import Refusal
from sealwave.rollout.ledger_store import change_ledger, read_ledger
from sealwave.rollout.model import FENCE_ANNOTATION, OWNER_ANNOTATION, Node
from tests.rollout.fake_cluster import Deployment, FakeCluster
from tests.rollout.world import pod

MARKS: dict[str, str | None] = {OWNER_ANNOTATION: "sealwave/workers", FENCE_ANNOTATION: "7"}


@dataclass
class Case:
    """A cluster with one node, `node`, and two pods of one workload of which one may leave."""

    cluster: Cluster
    node: str
    touch: Callable[[], None]  # somebody else changes the node


def _fake() -> Iterator[Case]:
    cluster = FakeCluster()
    cluster.put_node(Node(name="node-1", uid="uid-1", labels={"example.com/pool": "workers"}, ready=True))
    cluster.deployments["default/Deployment/web"] = Deployment("default/Deployment/web", desired=2, min_available=1)
    for name in ("web-1", "web-2"):
        cluster.put_pod(pod(name, "node-1", workload="default/Deployment/web"))
    yield Case(cluster, "node-1", lambda: cluster.put_node(cluster.node_map["node-1"]))


def _real(plane: ControlPlane) -> Iterator[Case]:
    from sealwave.infra.lab.cluster import load_documents

    admin = plane.cluster
    admin.apply(load_documents(ADDON))
    name = f"suite-{uuid.uuid4().hex[:8]}"
    admin.apply([_node(name), _deployment(name), _budget(name)])
    cluster = KubeCluster(KubeApi.from_kubeconfig(plane.driver_kubeconfig, timeout=10))
    _until(lambda: len(admin.items(f"/api/v1/namespaces/default/pods?labelSelector=app={name}")) == 2)
    for item in admin.items(f"/api/v1/namespaces/default/pods?labelSelector=app={name}"):
        _run(admin, item, name)
    _until(lambda: _allowed(admin, name) == 1)
    count = iter(range(1000))

    def touch() -> None:
        admin.apply([_node(name, {"example.com/touched": str(next(count))})])

    yield Case(cluster, name, touch)
    for path in (
        f"/apis/apps/v1/namespaces/default/deployments/{name}",
        f"/apis/policy/v1/namespaces/default/poddisruptionbudgets/{name}",
        f"/api/v1/nodes/{name}",
        f"/apis/sealwave.dev/v1alpha1/journals/{name}",
    ):
        admin.delete(path)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.tools)])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    if request.param == "fake":
        yield from _fake()
    else:
        yield from _real(request.getfixturevalue("control_plane"))


def _see(case: Case) -> Node:
    return next(node for node in case.cluster.nodes() if node.name == case.node)


def _cordon(case: Case, version: str, *, on: bool = True) -> Node:
    marks = MARKS if on else dict.fromkeys(MARKS)
    return case.cluster.patch_node(case.node, NodePatch(resource_version=version, unschedulable=on, annotations=marks))


def test_cordon_owner_and_fence_are_one_patch_and_go_together(case: Case) -> None:
    cordoned = _cordon(case, _see(case).resource_version)
    assert (cordoned.unschedulable, cordoned.owner, cordoned.fence) == (True, "sealwave/workers", 7)
    freed = _cordon(case, cordoned.resource_version, on=False)
    assert (freed.unschedulable, freed.owner, freed.fence) == (False, "", -1)
    assert freed.labels == _see(case).labels


def test_a_patch_of_an_older_version_is_a_conflict_and_changes_nothing(case: Case) -> None:
    before = _see(case)
    case.touch()
    with pytest.raises(Conflict):
        _cordon(case, before.resource_version)
    assert not _see(case).unschedulable


def test_an_eviction_beyond_the_budget_is_refused_with_its_reason(case: Case) -> None:
    first, second = sorted(case.cluster.pods({case.node}), key=lambda pod: pod.name)
    assert first.workload == second.workload
    assert case.cluster.workloads()[first.workload].ready == 2
    granted = case.cluster.evict(namespace=first.namespace, pod=first.name, uid=first.uid)
    assert granted.answer == "granted"
    refused = case.cluster.evict(namespace=second.namespace, pod=second.name, uid=second.uid)
    assert refused.answer == "refused"
    assert "needs 1 healthy pods and has 1 currently" in refused.detail


def test_an_eviction_names_the_pod_by_its_uid(case: Case) -> None:
    first = case.cluster.pods({case.node})[0]
    answer = case.cluster.evict(namespace=first.namespace, pod=first.name, uid=str(uuid.uuid4()))
    assert answer.answer == "gone"
    assert first.uid in {pod.uid for pod in case.cluster.pods({case.node}) if not pod.terminating}


def test_our_objects_are_compared_and_swapped(case: Case) -> None:
    head = "a" * 64
    assert case.cluster.read_object("Journal", case.node) is None
    first = case.cluster.write_object(
        "Journal", case.node, {"head": head, "count": 0, "records": []}, resource_version=""
    )
    with pytest.raises(Conflict):
        case.cluster.write_object("Journal", case.node, first.spec, resource_version="")
    spec: dict[str, Any] = {"head": head, "count": 1, "records": ['{"a":1.50}']}
    second = case.cluster.write_object("Journal", case.node, spec, resource_version=first.resource_version)
    with pytest.raises(Conflict):
        case.cluster.write_object("Journal", case.node, spec, resource_version=first.resource_version)
    read = case.cluster.read_object("Journal", case.node)
    assert read is not None
    assert read.spec == spec
    assert read.resource_version == second.resource_version


def test_the_ledger_comes_back_as_it_was_written(case: Case) -> None:
    refusal = Refusal(digest="sha256:" + "f" * 64, reason="x", when=12.5, who="w", pool=case.node, node="n")
    written = change_ledger(
        case.cluster, lambda book: book.with_fence(case.node, holder="h", now=1.5).with_refusal(refusal)
    )
    assert read_ledger(case.cluster) == written
    freed = change_ledger(case.cluster, lambda book: book.without_refusal(refusal.digest))
    assert refusal.digest not in freed.refused


@pytest.mark.tools
def test_what_the_driver_may_not_do_is_named(control_plane: ControlPlane) -> None:
    api = KubeApi.from_kubeconfig(control_plane.driver_kubeconfig, timeout=10)
    with pytest.raises(ClusterForbidden, match="may not get /api/v1/secrets"):
        api.get("/api/v1/secrets")


@pytest.mark.tools
def test_without_the_addon_the_sentence_names_it(control_plane: ControlPlane) -> None:
    api = KubeApi.from_kubeconfig(control_plane.admin_kubeconfig, timeout=10)

    class Elsewhere(KubeApi):
        def get(self, path: str, **query: str) -> dict[str, Any]:
            return api.get(path.replace("sealwave.dev", "nothing.example"), **query)

    elsewhere = Elsewhere.from_kubeconfig(control_plane.admin_kubeconfig, timeout=10)
    with pytest.raises((AddonMissing, ClusterForbidden), match="add-on"):
        KubeCluster(elsewhere).read_object("Ledger", "cluster")


def test_a_kubeconfig_that_does_not_answer_is_one_sentence(tmp_path: Any) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: x\n"
        "clusters: [{name: x, cluster: {server: 'https://127.0.0.1:1'}}]\n"
        "users: [{name: x, user: {}}]\ncontexts: [{name: x, context: {cluster: x, user: x}}]\n"
    )
    api = KubeApi.from_kubeconfig(path, timeout=1)
    with pytest.raises(ClusterUnreachable, match=r"https://127.0.0.1:1 does not answer \(.*refused.*check the kube"):
        api.get("/api/v1/nodes")


@pytest.mark.parametrize("content", ["", "{", "apiVersion: v1\nkind: Config\n", "[]"])
def test_a_file_that_is_no_kubeconfig_is_one_sentence(tmp_path: Any, content: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    with pytest.raises(CredentialsMissing, match="kubeconfig"):
        KubeApi.from_kubeconfig(path, timeout=1)


def _node(name: str, annotations: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"example.com/suite": name}, "annotations": annotations or {}},
    }


def _deployment(name: str) -> dict[str, Any]:
    container = {"name": "main", "image": "sealwave.local/pause:1"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"nodeName": name, "containers": [container], "terminationGracePeriodSeconds": 0},
            },
        },
    }


def _budget(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": name}}},
    }


def _run(admin: Any, item: dict[str, Any], name: str) -> None:
    """What a kubelet would report."""
    meta = item["metadata"]
    path = f"/api/v1/namespaces/default/pods/{meta['name']}/status"
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    admin._call("PATCH", path, body=_json({"status": status}), content_type="application/merge-patch+json")


def _json(body: dict[str, Any]) -> str:
    import json

    return json.dumps(body)


def _allowed(admin: Any, name: str) -> int:
    path = f"/apis/policy/v1/namespaces/default/poddisruptionbudgets/{name}"
    return int(admin.get(path).get("status", {}).get("disruptionsAllowed", 0))


def _until(ready: Callable[[], bool], limit: float = 40.0) -> None:
    end = time.monotonic() + limit
    while not ready():
        assert time.monotonic() < end, "the real cluster did not come to it"
        time.sleep(0.1)
