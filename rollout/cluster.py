"""A cluster, as the driver speaks with it. `KubeCluster` is the real one; tests bring one in memory.

Reads give frozen values; writes are guarded: node patches by resourceVersion, evictions by the pod's UID, our own
objects by compare-and-swap. A lost guard is Conflict, and the caller looks again before it does anything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from sealwave.rollout.model import Json, Node, Pod, Workload

# The pods of one list call are fetched in pages of this size, so that one answer stays below a few MiB.
PAGE = 500


@dataclass(frozen=True, kw_only=True)
class NodePatch:
    """One patch of a node; ``annotations`` with None are removed. Nothing else of the node is written."""

    resource_version: str
    unschedulable: bool
    annotations: Mapping[str, str | None]


@dataclass(frozen=True, kw_only=True)
class Eviction:
    """The API server's answer to an eviction."""

    answer: Literal["granted", "refused", "gone"]
    detail: str = ""  # Of a refusal: the disruption budget's own words.


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One of our own objects, and the version that a write has to be made against."""

    spec: Json
    resource_version: str


class Cluster(Protocol):
    """One cluster. Every method raises ClusterError; the writing ones Conflict too."""

    def nodes(self) -> tuple[Node, ...]:
        """Every node."""

    def pods(self, nodes: Collection[str]) -> tuple[Pod, ...]:
        """The pods on `nodes`."""

    def workloads(self) -> Mapping[str, Workload]:
        """Deployments and StatefulSets by "namespace/Kind/name"."""

    def patch_node(self, name: str, patch: NodePatch) -> Node:
        """Apply `patch` in one call; Conflict when the node is another version by now."""

    def evict(self, *, namespace: str, pod: str, uid: str) -> Eviction:
        """Ask for the pod with this UID to leave."""

    def read_object(self, kind: str, name: str) -> Stored | None:
        """One of our objects (Ledger, Journal); None when it is not there. AddonMissing without its definition."""

    def write_object(self, kind: str, name: str, spec: Json, *, resource_version: str) -> Stored:
        """Compare-and-swap; an empty `resource_version` creates. Conflict when it is another version by now."""
