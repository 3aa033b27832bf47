"""A real control plane for tests: `with running_control_plane(tmp_path) as plane: plane.cluster.get(...)`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sealwave.infra.lab.controlplane import EVERY_CONTROLLER, ControlPlane, Ports

__all__ = ["running_control_plane", "tools_folder"]

# Nodes that are only objects send no heartbeat: these controllers would take them for dead and delete their pods.
WITHOUT_NODE_LIFE = (*EVERY_CONTROLLER, "-node-lifecycle-controller", "-taint-eviction-controller")


def tools_folder() -> Path:
    """Where the built host tools are: SEALWAVE_TEST_TOOLS, else where PATH finds kube-apiserver."""
    named = os.environ.get("SEALWAVE_TEST_TOOLS") or shutil.which("kube-apiserver")
    assert named, "the host tools are missing: run `make tools`, or set SEALWAVE_TEST_TOOLS to their folder"
    return Path(named) if Path(named).is_dir() else Path(named).parent


@contextmanager
def running_control_plane(folder: Path, *, controllers: tuple[str, ...] = WITHOUT_NODE_LIFE) -> Iterator[ControlPlane]:
    """Start one in `folder`, and end it with the block; call it from the main thread.

    It has `.url`, `.admin_kubeconfig`, `.driver_kubeconfig` (user sealwave-driver), `.pki` and `.cluster` (an admin
    client with get, find, items, apply, delete).
    """
    plane = ControlPlane(folder / "controlplane", tools=tools_folder(), ports=Ports.choose(), controllers=controllers)
    plane.start(now=datetime.now(UTC))
    try:
        yield plane
    finally:
        plane.stop()
