"""The machine's own checks and its drift: functions of what was read, which `linux.py` reads.

`drift` is a self-report: a machine that was taken over can answer anything. It finds accidents and honest mistakes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sealwave.images.agent.platform import Check, Finding, KubeletState
from sealwave.images.agent.slots import StoredImage

__all__ = [
    "UNIT_FOLDERS",
    "check_failed_units",
    "check_lockdown",
    "check_manifest",
    "check_root",
    "check_secure_boot",
    "check_service",
    "drift_of_data",
    "drift_of_manifest",
    "drift_of_mounts",
    "drift_of_taint",
    "drift_of_units",
    "kept_names",
    "kubelet_state",
    "root_hash_of",
]

# Folders from which systemd takes units that no image brought; generators have folders of their own.
UNIT_FOLDERS = ("/run/systemd/system", "/run/systemd/system.control")

# Where the running system's own files are; nothing is ever mounted over them.
_SEALED = ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/boot", "/root", "/home")
# systemd gives the machine's own id, which no image may hold, by a mount over the image's empty file.
_OVER_THE_IMAGE = frozenset({"/etc/machine-id"})
# What the data partition holds besides the manifest's keep list: containerd's own, remade per image, and ext4's.
_REMADE = frozenset({"runtime", "lost+found"})
# What is kept even if the manifest cannot be verified: without these two the machine loses its name and its fence.
_ALWAYS_KEPT = frozenset({"identity", "agent"})


def kubelet_state(properties: Mapping[str, str]) -> KubeletState:
    """The kubelet's state from the service manager's properties of its unit."""
    active, words = _service(properties)
    return KubeletState(active, words)


def _service(properties: Mapping[str, str]) -> tuple[bool, str]:
    state, sub = properties.get("ActiveState", "unknown"), properties.get("SubState", "unknown")
    words = f"{state} ({sub})"
    if properties.get("Result", "success") != "success":
        words += f", last result {properties['Result']}"
    if properties.get("NRestarts", "0") != "0":
        words += f", restarted {properties['NRestarts']} times"
    return state == "active", words


def check_secure_boot(enforced: bool) -> Check:
    """Secure Boot."""
    return Check("secure-boot", enforced, "the firmware enforces signatures" if enforced else "it is off")


def root_hash_of(command_line: str) -> str | None:
    """The root hash that the signed command line asks for."""
    found = [word.split("=", 1)[1] for word in command_line.split() if word.startswith("roothash=")]
    return found[0] if len(found) == 1 else None


def check_root(root_hash: str, command_line: str) -> Check:
    """The kernel's table against the signed command line."""
    asked = root_hash_of(command_line)
    if asked == root_hash:
        return Check("verity", True, f"every block of the root is verified against {root_hash}")
    return Check("verity", False, f"the kernel verifies against {root_hash}, the command line asks for {asked}")


def check_manifest(root_hash: str, image: StoredImage | None) -> Check:
    """The signed manifest beside the slot against what runs."""
    if image is None:
        return Check("manifest", False, "no signed manifest lies beside the running slot")
    if image.root_hash != root_hash:
        return Check("manifest", False, f"the manifest beside the slot is for {image.root_hash}")
    return Check("manifest", True, f"{image.name} {image.version}")


def check_lockdown(shown: str) -> Check:
    """The kernel's lockdown level: the word in brackets of the kernel's own list."""
    level = shown.partition("[")[2].partition("]")[0]
    return Check("lockdown", level in ("integrity", "confidentiality"), level or "unknown")


def check_service(name: str, properties: Mapping[str, str]) -> Check:
    """A service that a node cannot be without."""
    return Check(name, *_service(properties))


def check_failed_units(listed: str) -> Check:
    """Units that failed, from the service manager's list of them."""
    names = [line.split()[0] for line in listed.splitlines() if line.split()]
    return Check("units", not names, ", ".join(names[:10]) or "none failed")


def drift_of_manifest(image: StoredImage | None) -> list[Finding]:
    """Without a signed manifest nothing can be compared, and that is drift."""
    return [] if image is not None else [Finding("/", "no signed manifest describes what runs")]


def drift_of_mounts(mount_info: str) -> list[Finding]:
    """Mounts over sealed folders, and a root that is not the sealed one (proc_pid_mountinfo(5))."""
    found = []
    for line in mount_info.splitlines():
        left, _, right = line.partition(" - ")
        place, options, kind = left.split()[4], left.split()[5].split(","), right.split()[0]
        if place == "/":
            if kind != "erofs" or "ro" not in options:
                found.append(Finding("/", f"the root is {kind} ({','.join(options)}) and not a read-only EROFS"))
        elif place in _OVER_THE_IMAGE:
            continue
        elif any(place == sealed or place.startswith(sealed + "/") for sealed in _SEALED):
            found.append(Finding(place, f"a {kind} is mounted over the image"))
    return found


def drift_of_data(names: Iterable[str], keep: Sequence[str]) -> list[Finding]:
    """Top-level entries of the data partition that the manifest does not keep."""
    kept = kept_names(keep) | _REMADE
    return [Finding(f"/data/{name}", "it is not on the keep list") for name in sorted(names) if name not in kept]


def kept_names(keep: Sequence[str]) -> frozenset[str]:
    """The top-level names of the data partition that survive another image."""
    return frozenset(path.split("/", 1)[0] for path in keep) | _ALWAYS_KEPT


def drift_of_units(files: Iterable[str]) -> list[Finding]:
    """Units and drop-ins that were added while the machine ran."""
    return [Finding(path, "it is no unit of the image") for path in sorted(files)]


def drift_of_taint(tainted: str) -> list[Finding]:
    """The kernel's own note that something foreign happened to it (admin-guide/tainted-kernels.rst)."""
    value = tainted.strip()
    return [] if value == "0" else [Finding("/proc/sys/kernel/tainted", f"the kernel is tainted ({value})")]
