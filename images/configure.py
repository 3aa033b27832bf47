"""Configuration of the root tree: what the spec says, then the users' own deploys, by pyinfra's chroot connector."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sealwave.images.confine import place_inside
from sealwave.images.errors import CheckFailed, ToolFailed
from sealwave.images.hoststage import configure_line, run_stage
from sealwave.images.lock import Lock
from sealwave.images.spec import NodeImage
from sealwave.images.store import Store

_BASE = Path(__file__).resolve().parent / "basedeploy.py"
"""Our own deploy: it puts the texts of `settings` in their places."""

_CONTAINERD = """version = 2
root = "/data/runtime/containerd"
state = "/run/containerd"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "sealwave.local/pause:1"

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "/run/cni/net.d"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = true

[plugins."io.containerd.internal.v1.opt"]
  path = "/run/containerd/opt"
"""


def settings(spec: NodeImage, *, units: Sequence[str] = ()) -> dict[str, Any]:
    """What the base deploy writes: texts by path, units to mask, units to enable (`units` are our own); pure."""
    texts = {
        "/etc/containerd/config.toml": _CONTAINERD,
        "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
        "/etc/resolv.conf": "# Nodes are reached by address; names are resolved by the cluster.\n",
        "/usr/lib/sealwave/kubelet.json": json.dumps(spec.kubelet_settings, indent=1, sort_keys=True) + "\n",
    }
    if spec.sysctls:
        texts["/etc/sysctl.d/50-sealwave.conf"] = _lines(f"{key} = {value}" for key, value in spec.sysctls.items())
    if spec.kernel_load:
        texts["/etc/modules-load.d/50-sealwave.conf"] = _lines(spec.kernel_load)
    release = {"IMAGE_ID": spec.name, "IMAGE_VERSION": spec.version}
    return {"texts": texts, "release": release, "mask": list(spec.mask), "enable": [*units, *spec.enable]}


def configure(spec: NodeImage, lock: Lock, *, tree: Path, store: Store, units: Sequence[str]) -> None:
    """Run the base deploy and the users' deploys in `tree`. Raises `CheckFailed` naming the deploy that failed."""
    with tempfile.TemporaryDirectory(prefix="sealwave-deploy-") as name:
        folder = Path(name).resolve()
        lay_out(lock, store=store, folder=folder)
        (folder / "settings.json").write_text(json.dumps(settings(spec, units=units)), encoding="utf-8")
        (folder / "basedeploy.py").write_bytes(_BASE.read_bytes())
        for deploy in ("basedeploy.py", *spec.deploys):
            arguments = ["-m", "pyinfra", "--yes", f"@chroot/{tree}", deploy]
            try:
                run_stage(configure_line(tree, folder, arguments), named=["pyinfra", deploy])
            except ToolFailed as error:
                raise CheckFailed(f"the deploy {deploy} failed in the root tree: {_reason(error.output)}") from error


def lay_out(lock: Lock, *, store: Store, folder: Path) -> None:
    """Write the locked files of the user's under the paths that they have beside the spec."""
    for file in lock.files:
        place = place_inside(folder, file.name, what="a file of the lock")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(store.read(file.sha256, file.name))


def _lines(values: Iterable[str]) -> str:
    return "".join(f"{value}\n" for value in values)


def _reason(output: str) -> str:
    """The line of pyinfra's output that says most."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if "rror" in line or "stderr" in line]
    return (telling or lines or ["it said nothing"])[-1]
