"""What has to be so before containerd and the kubelet start; it may be run again at any time.

1. The configuration is verified; without it nothing below happens, and an activated image then loses its window.
2. When another image runs than before, what is not on its keep list goes from the data partition; what containers left
   goes too when the partition is full. This is first, because everything after it needs room.
3. The boot is recognised and recorded, before anything can reboot again. A record that cannot be read or written does
   not keep the machine from its work, because the other slot would meet the same record.
4. Configuration of the kubelet, of CNI and of the agent's own connections is written to memory.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sealwave.images.agent import esp, kubelet, layout
from sealwave.images.agent.boots import recognise
from sealwave.images.agent.config import BLOB_LIMIT, MachineConfig, read_blob
from sealwave.images.agent.errors import ConfigUnusable, PlatformFailed
from sealwave.images.agent.inspection import kept_names
from sealwave.images.agent.memory import MemoryFile
from sealwave.images.agent.platform import Platform
from sealwave.signing.files import PRIVATE_FILE, make_private_folder, write_atomic

__all__ = ["clean_data", "image_settings", "load_config", "prepare", "record_boot", "write_run_files"]

_log = logging.getLogger(__name__)

# Bytes on the data partition with which the agent can write its records and the kubelet its certificates.
_LEAST_ROOM = 16 * 1024 * 1024


def load_config(disk: Path = layout.CONFIG_DISK, *, trust: Path = layout.TRUST) -> MachineConfig:
    """The verified configuration of this machine; raises ConfigUnusable."""
    try:
        with disk.open("rb") as stream:
            blob = stream.read(BLOB_LIMIT + 1)
        key = (trust / "config.pub").read_bytes()
    except OSError as error:
        raise ConfigUnusable(f"it cannot be read ({error})") from error
    return read_blob(blob, key=key)


def prepare(platform: Platform) -> None:
    """Run the steps; raises AgentError."""
    config = load_config()
    running = platform.running()
    image = esp.read_image(platform.esp, running.slot, key=platform.release_key)
    # The manifest is found by the slot's name: one for another root says nothing of what this image keeps.
    keep = image.keep if image is not None and image.root_hash == running.root_hash else None
    clean_data(platform.data, root_hash=running.root_hash, keep=keep)
    _log.info("machine %s, boot %s", config.machine, record_boot(platform))
    make_private_folder(Path(kubelet.KUBELET_PKI))
    write_run_files(config, image_settings(layout.IMAGE_KUBELET_SETTINGS))
    socket.sethostname(config.machine)


def record_boot(platform: Platform) -> str:
    """Recognise the boot; the reason in words for the log, "unknown" when it cannot be recorded."""
    try:
        with MemoryFile(platform.data / "agent").change() as change:
            recognise(change, platform)
            boot = change.memory.history.boot
    except (PlatformFailed, OSError) as error:
        _log.error("the boot is not recorded: %s", error)
        return "unknown"
    return "unknown" if boot is None else boot.reason.value


def clean_data(data: Path, *, root_hash: str, keep: tuple[str, ...] | None) -> None:
    """Empty the data partition of what the image does not keep, if another image was here before.

    Without a keep list (None: no signed manifest is for this root) the container runtime's part goes and nothing else,
    and the work is repeated at the next boot. It goes from a full partition too: it can be made again.
    The note of which image was here is changed last: a cut in between repeats the work.
    """
    note = data / "agent" / "image.json"
    try:
        previous = json.loads(note.read_bytes())["rootHash"]
    except (OSError, ValueError, KeyError, TypeError):
        previous = None
    try:
        if previous == root_hash or keep is None:
            if previous != root_hash or _room(data) < _LEAST_ROOM:
                _log.info("the container runtime's data is removed, and is made again")
                shutil.rmtree(data / layout.RUNTIME, ignore_errors=True)
            return
        kept = kept_names(keep) | {"lost+found"}
        for entry in data.iterdir():
            if entry.name not in kept:
                _log.info("%s does not belong to this image and is removed", entry)
                _remove(entry)
        make_private_folder(note.parent)
        write_atomic(note, json.dumps({"rootHash": root_hash}).encode(), mode=PRIVATE_FILE)
    except OSError as error:
        raise PlatformFailed("cleaning the data partition", str(error)) from error


def _room(data: Path) -> int:
    """Bytes that the machine's own services may still write."""
    found = os.statvfs(data)
    return found.f_bfree * found.f_frsize


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def image_settings(path: Path) -> Mapping[str, Any]:
    """The kubelet settings that came with the image; the file lies in the verified root and may be absent."""
    try:
        found: Mapping[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return found


def write_run_files(
    config: MachineConfig, own: Mapping[str, Any], *, run: Path = layout.RUN, cni: Path = layout.RUN_CNI
) -> None:
    """Write everything that is made anew at each boot."""
    run.mkdir(mode=0o755, parents=True, exist_ok=True)
    cni.mkdir(mode=0o755, parents=True, exist_ok=True)
    api_ca = str(run / "api-ca.pem")
    token = kubelet.kubeconfig(config, api_ca=api_ca, user={"token": config.bootstrap_token})
    files = {
        run / "api-ca.pem": config.api_ca.encode(),
        run / "images-ca.pem": config.images_ca.encode(),
        run / "enrolment-ca.pem": config.enrolment_ca.encode(),
        run / "kubelet.yaml": json.dumps(kubelet.settings(api_ca, own), indent=1).encode(),
        run / "kubelet.env": kubelet.environment(config).encode(),
        run / "bootstrap.kubeconfig": token,
        cni / "10-bridge.conflist": kubelet.bridge_network(config.pod_cidr),
    }
    certificate = Path(kubelet.CLIENT_CERTIFICATE)
    if certificate.exists():
        # The kubelet would take the address of the API server from its own old file; the signed one is right.
        user = {"client-certificate": str(certificate), "client-key": str(certificate)}
        files[run / "kubelet.kubeconfig"] = kubelet.kubeconfig(config, api_ca=api_ca, user=user)
    secret = {run / "bootstrap.kubeconfig"}
    for path, content in files.items():
        write_atomic(path, content, mode=PRIVATE_FILE if path in secret else 0o644)
