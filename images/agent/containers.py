"""The pods that live on this machine, read from the container runtime's own bundles.

containerd keeps a folder per live container with its OCI configuration, in which the CRI plugin has noted the pod. That
is the runtime's word and not the kubelet's or the cluster's, and it costs no process: a call of `ctr` per pod would
take seconds on a slow machine.
"""

from __future__ import annotations

import json
from pathlib import Path

from sealwave.images.agent.platform import Pod

__all__ = ["BUNDLES", "read_pods"]

BUNDLES = Path("/run/containerd/io.containerd.runtime.v2.task/k8s.io")

_KIND = "io.kubernetes.cri.container-type"
_NAMES = tuple(f"io.kubernetes.cri.sandbox-{part}" for part in ("namespace", "name", "uid"))


def read_pods(bundles: Path = BUNDLES, *, processes: Path = Path("/proc")) -> tuple[Pod, ...]:
    """Every pod whose sandbox has a live process, in order of namespace and name."""
    if not bundles.is_dir():
        return ()
    found = (_sandbox(bundle, processes) for bundle in bundles.iterdir())
    return tuple(sorted((pod for pod in found if pod is not None), key=lambda pod: (pod.namespace, pod.name)))


def _sandbox(bundle: Path, processes: Path) -> Pod | None:
    """The pod of a bundle; None for a container of one, or when the bundle vanishes while it is read."""
    try:
        annotations = json.loads((bundle / "config.json").read_bytes()).get("annotations", {})
        if annotations.get(_KIND) != "sandbox":
            return None
        process = (bundle / "init.pid").read_text().strip()
    except (OSError, ValueError):
        return None
    if not (processes / process).is_dir():
        return None
    namespace, name, uid = (str(annotations.get(key, "")) for key in _NAMES)
    return Pod(namespace, name, uid)
