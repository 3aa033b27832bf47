"""Where things are on a node, in one place: files, devices, and the only programs that the agent may start."""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "COMMITTED",
    "CONFIG_DISK",
    "CTR",
    "DATA",
    "EFI_VARIABLES",
    "ESP",
    "IMAGE_ARCHIVES",
    "IMAGE_KUBELET_SETTINGS",
    "RUN",
    "RUNTIME",
    "RUN_CNI",
    "SYSTEMCTL",
    "TRUST",
]

# Programs.
SYSTEMCTL = "/usr/bin/systemctl"
CTR = "/usr/bin/ctr"

# From the sealed root.
TRUST = Path("/usr/lib/sealwave/trust")
IMAGE_ARCHIVES = Path("/usr/lib/sealwave/images")
# Fields of KubeletConfiguration that the image's spec sets; they win over the agent's own.
IMAGE_KUBELET_SETTINGS = Path("/usr/lib/sealwave/kubelet.json")

# The machine.
CONFIG_DISK = Path("/dev/disk/by-id/virtio-sealwave-config")
EFI_VARIABLES = Path("/sys/firmware/efi/efivars")
ESP = Path("/efi")
DATA = Path("/data")

# Made at each boot, in memory.
RUN = Path("/run/sealwave")
# Its presence keeps sealwave-last-resort.service from rebooting the machine.
COMMITTED = RUN / "committed"
RUN_CNI = Path("/run/cni/net.d")

# containerd's root below the data partition; it is emptied when another image runs than before.
RUNTIME = "runtime"
