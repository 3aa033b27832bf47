"""The real machine: block devices, firmware variables, systemd and the kernel's own files."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from sealwave.images.agent import esp, gpt, inspection, layout
from sealwave.images.agent.containers import read_pods
from sealwave.images.agent.devmapper import VerityTable, read_table
from sealwave.images.agent.efivars import LOADER, SECURITY, EfiVariables
from sealwave.images.agent.errors import PlatformFailed
from sealwave.images.agent.partitions import name_partitions
from sealwave.images.agent.platform import BootChoice, Check, Finding, KubeletState, Part, Pod, Running
from sealwave.images.agent.slots import Slot, StoredImage

__all__ = ["LinuxPlatform", "run_program"]

_ONE_SHOT = "LoaderEntryOneShot"
_DEFAULT = "LoaderEntryDefault"
# What `default` in the ESP's loader.conf says: it counts until the first commit sets the variable.
_FACTORY_DEFAULT = Slot.A
# Seconds for a question to the service manager.
_PROGRAM_TIMEOUT = 30
# Seconds in which an orderly reboot has ended the agent; after them the machine is reset.
_REBOOT_PATIENCE = 120.0
_BLKGETSIZE64 = 0x80081272  # linux/fs.h


def run_program(arguments: Sequence[str], *, timeout: float = _PROGRAM_TIMEOUT) -> str:
    """What a program of `layout` prints; raises PlatformFailed when it fails or does not end in time (seconds)."""
    try:
        done = subprocess.run(  # Arguments are a list; no shell exists here.
            arguments, capture_output=True, check=True, timeout=timeout, text=True, stdin=subprocess.DEVNULL
        )
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "it said nothing").strip().splitlines()
        raise PlatformFailed(" ".join(arguments[:3]), said[-1] if said else f"status {error.returncode}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlatformFailed(" ".join(arguments[:3]), str(error)) from error
    return done.stdout


class LinuxPlatform:
    """Satisfies `Platform`."""

    esp = layout.ESP
    data = layout.DATA

    def __init__(self) -> None:
        self._variables = EfiVariables(layout.EFI_VARIABLES)

    @cached_property
    def release_key(self) -> bytes:
        """See Platform; the file lies in the verified root."""
        return (layout.TRUST / "release.pub").read_bytes()

    def now(self) -> datetime:
        """See Platform."""
        return datetime.now(UTC)

    def uptime(self) -> float:
        """See Platform."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot_id(self) -> str:
        """See Platform."""
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    @cached_property
    def _table(self) -> VerityTable:
        device = os.stat("/").st_dev  # noqa: PTH116 - the root folder's own device number
        try:
            name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/dm/name").read_text().strip()
            return read_table(name)
        except (OSError, ValueError) as error:
            raise PlatformFailed("reading the verity table of the root", str(error)) from error

    @cached_property
    def _running(self) -> Running:
        name = _partition_name(Path("/sys/dev/block") / self._table.data_device)
        for slot in Slot:
            if name == f"{Part.ROOT.value}-{slot.value}":
                return Running(slot, self._table.root_hash)
        raise PlatformFailed("finding the running slot", f"the root lies on a partition named {name!r}")

    def running(self) -> Running:
        """See Platform; it cannot change while the machine runs."""
        return self._running

    def secure_boot(self) -> bool:
        """See Platform."""
        return self._variables.read("SecureBoot", vendor=SECURITY) == b"\1"

    def boot_choice(self) -> BootChoice:
        """See Platform; names of entries that are not ours count as absent, as the boot loader takes them.

        What cannot be asked is an error: an absent answer would make a committed machine leave its image.
        """
        if self._variables.read("LoaderInfo", vendor=LOADER) is None:
            # The boot loader sets it at each boot, so without it the variables as a whole are not there.
            raise PlatformFailed("reading the boot loader's variables", "LoaderInfo is not there")
        entries = {slot.entry: slot for slot in Slot}
        default = entries.get(self._variables.read_text(_DEFAULT, vendor=LOADER) or "")
        if default is None:
            # Firmware that lost its variables: the boot loader takes loader.conf's entry, or the other without that.
            there = esp.list_entries(self.esp)
            default = _FACTORY_DEFAULT if _FACTORY_DEFAULT in there else _FACTORY_DEFAULT.other
        one_shot = entries.get(self._variables.read_text(_ONE_SHOT, vendor=LOADER) or "")
        return BootChoice(default, one_shot)

    def set_default(self, slot: Slot) -> None:
        """See Platform."""
        self._variables.write_text(_DEFAULT, slot.entry, vendor=LOADER)

    def set_one_shot(self, slot: Slot | None) -> None:
        """See Platform."""
        if slot is None:
            self._variables.delete(_ONE_SHOT, vendor=LOADER)
        else:
            self._variables.write_text(_ONE_SHOT, slot.entry, vendor=LOADER)

    def partition(self, part: Part, slot: Slot) -> Path:
        """See Platform."""
        return Path(f"/dev/disk/by-partlabel/{part.value}-{slot.value}")

    def capacity(self, part: Part, slot: Slot) -> int:
        """See Platform."""
        try:
            return _device_size(self.partition(part, slot))
        except OSError as error:
            raise PlatformFailed(f"finding the {part.value} partition of slot {slot.value}", str(error)) from error

    def name_slot(self, slot: Slot, root_hash: str) -> None:
        """See Platform."""
        try:
            disk = _disk_of(self.partition(Part.ROOT, slot))
            name_partitions(disk, size=_device_size(disk), slot=slot, root_hash=root_hash)
        except (OSError, gpt.GptError) as error:
            raise PlatformFailed("giving the slot's partitions their UUIDs", str(error)) from error

    def pods(self) -> Sequence[Pod]:
        """See Platform."""
        return read_pods()

    def kubelet(self) -> KubeletState:
        """See Platform."""
        try:
            return inspection.kubelet_state(_unit_properties("kubelet.service"))
        except PlatformFailed as error:
            return KubeletState(False, str(error))

    def checks(self) -> Sequence[Check]:
        """See Platform."""
        running = self.running()
        image = esp.read_image(self.esp, running.slot, key=self.release_key)
        failed = run_program([layout.SYSTEMCTL, "list-units", "--state=failed", "--plain", "--no-legend"])
        containerd = _unit_properties("containerd.service")
        return [
            inspection.check_secure_boot(self.secure_boot()),
            inspection.check_root(running.root_hash, Path("/proc/cmdline").read_text()),
            inspection.check_manifest(running.root_hash, image),
            inspection.check_lockdown(Path("/sys/kernel/security/lockdown").read_text()),
            inspection.check_service("containerd", containerd),
            inspection.check_service("kubelet", _unit_properties("kubelet.service")),
            inspection.check_failed_units(failed),
        ]

    def drift(self, image: StoredImage | None) -> Sequence[Finding]:
        """See Platform."""
        keep = () if image is None else image.keep
        extra = [folder for folder in map(Path, inspection.UNIT_FOLDERS) if folder.is_dir()]
        return [
            *inspection.drift_of_manifest(image),
            # Of the first process: the agent's own view has the mounts that shut it in.
            *inspection.drift_of_mounts(Path("/proc/1/mountinfo").read_text()),
            *inspection.drift_of_data([entry.name for entry in self.data.iterdir()], keep),
            *inspection.drift_of_units([str(file) for folder in extra for file in folder.iterdir()]),
            *inspection.drift_of_taint(Path("/proc/sys/kernel/tainted").read_text()),
        ]

    def reboot(self) -> None:
        """See Platform. An orderly reboot that hangs is followed by a reset."""
        threading.Thread(target=_reset_later, name="reset", daemon=True).start()
        run_program([layout.SYSTEMCTL, "reboot", "--no-block"])


def _reset_later() -> None:
    time.sleep(_REBOOT_PATIENCE)
    os.sync()
    # Twice: without the service manager and without asking anything (systemctl's manual, --force).
    run_program([layout.SYSTEMCTL, "reboot", "--force", "--force"])


def _unit_properties(unit: str) -> dict[str, str]:
    properties = "ActiveState,SubState,Result,NRestarts"
    shown = run_program([layout.SYSTEMCTL, "show", unit, f"--property={properties}"])
    return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)


def _partition_name(device: Path) -> str:
    """The GPT name of a partition by its folder in sysfs; "" when it has none."""
    try:
        lines = (device / "uevent").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split("=", 1)[1] for line in lines if line.startswith("PARTNAME=")), "")


def _disk_of(partition: Path) -> Path:
    """The whole disk's device of a partition's device."""
    folder = (Path("/sys/class/block") / partition.resolve(strict=True).name).resolve(strict=True)
    return Path("/dev") / folder.parent.name


def _device_size(device: Path) -> int:
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size: int = struct.unpack("<Q", fcntl.ioctl(descriptor, _BLKGETSIZE64, bytes(8)))[0]
        return size
    finally:
        os.close(descriptor)
