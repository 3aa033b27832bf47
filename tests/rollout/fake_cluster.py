"""A cluster in memory with the production interface: nodes, pods, disruption budgets, our objects.

It passes the same suite as a real API server (test_cluster.py). `World` in world.py gives it life.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from sealwave.rollout.cluster import Eviction, NodePatch, Stored
from sealwave.rollout.errors import AddonMissing, Conflict
from sealwave.rollout.model import Json, Node, Pod, Workload


@dataclass
class Deployment:
    """What a controller keeps running: `desired` pods, of which `min_available` may not be evicted."""

    key: str
    desired: int
    min_available: int = 0


@dataclass
class FakeCluster:
    """One cluster; `watch` is called after every change, with a word for it."""

    node_map: dict[str, Node] = field(default_factory=dict)
    pod_map: dict[str, Pod] = field(default_factory=dict)
    deployments: dict[str, Deployment] = field(default_factory=dict)
    objects: dict[tuple[str, str], Stored] = field(default_factory=dict)
    addon: bool = True
    version: int = 1
    watch: Callable[[str, str], None] = lambda verb, name: None

    def _next(self) -> str:
        self.version += 1
        return str(self.version)

    def put_node(self, node: Node) -> None:
        self.node_map[node.name] = replace(node, resource_version=self._next())

    def put_pod(self, pod: Pod) -> None:
        self.pod_map[pod.uid] = pod

    def nodes(self) -> tuple[Node, ...]:
        return tuple(self.node_map.values())

    def pods(self, nodes: Collection[str]) -> tuple[Pod, ...]:
        return tuple(pod for pod in self.pod_map.values() if pod.node in nodes)

    def workloads(self) -> Mapping[str, Workload]:
        return {
            key: Workload(key=key, desired=deployment.desired, ready=self.ready(key))
            for key, deployment in self.deployments.items()
        }

    def count(self, key: str) -> int:
        return sum(1 for pod in self.pod_map.values() if pod.workload == key)

    def ready(self, key: str) -> int:
        return sum(1 for pod in self.pod_map.values() if pod.workload == key and pod.ready and not pod.terminating)

    def patch_node(self, name: str, patch: NodePatch) -> Node:
        node = self.node_map.get(name)
        if node is None or node.resource_version != patch.resource_version:
            raise Conflict(f"node {name}")
        annotations = {**node.annotations, **patch.annotations}
        kept = {key: value for key, value in annotations.items() if value is not None}
        self.put_node(replace(node, unschedulable=patch.unschedulable, annotations=kept))
        self.watch("cordon" if patch.unschedulable else "uncordon", name)
        return self.node_map[name]

    def evict(self, *, namespace: str, pod: str, uid: str) -> Eviction:
        found = self.pod_map.get(uid)
        if found is None or (found.namespace, found.name) != (namespace, pod):
            return Eviction(answer="gone", detail="no such pod")
        deployment = self.deployments.get(found.workload)
        if deployment and self.ready(deployment.key) <= deployment.min_available:
            return Eviction(
                answer="refused",
                detail=f"The disruption budget {deployment.key} needs {deployment.min_available} healthy pods "
                f"and has {self.ready(deployment.key)} currently",
            )
        del self.pod_map[uid]
        self.watch("evict", found.node)
        return Eviction(answer="granted")

    def read_object(self, kind: str, name: str) -> Stored | None:
        if not self.addon:
            raise AddonMissing(kind)
        return self.objects.get((kind, name))

    def write_object(self, kind: str, name: str, spec: Json, *, resource_version: str) -> Stored:
        if not self.addon:
            raise AddonMissing(kind)
        there = self.objects.get((kind, name))
        if (there.resource_version if there else "") != resource_version:
            raise Conflict(f"{kind} {name}")
        stored = Stored(spec=spec, resource_version=self._next())
        self.objects[(kind, name)] = stored
        self.watch(f"write {kind}", name)
        return stored
