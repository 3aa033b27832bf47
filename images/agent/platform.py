"""The seam to the machine: everything that the agent sees of it and does to it.

`linux.py` is the real one. Tests run the whole agent over a second one that keeps slots and firmware variables in
files, so nothing outside these methods may touch a device, a variable or a process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Protocol

from sealwave.images.agent.slots import Slot, StoredImage

__all__ = ["BootChoice", "Check", "Finding", "KubeletState", "Part", "Platform", "Pod", "Running"]


class Part(Enum):
    """The two partitions of a slot."""

    ROOT = "root"
    VERITY = "verity"


@dataclass(frozen=True)
class Running:
    """What the kernel says it booted from."""

    slot: Slot
    root_hash: str


@dataclass(frozen=True)
class BootChoice:
    """What the boot loader will take."""

    default: Slot
    one_shot: Slot | None


@dataclass(frozen=True)
class Pod:
    """A pod with a sandbox on this machine."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True)
class KubeletState:
    """Whether the kubelet runs, with the service manager's words for it."""

    active: bool
    detail: str


@dataclass(frozen=True)
class Check:
    """The result of one of the machine's own checks."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Finding:
    """A difference between the running machine and its manifest."""

    path: str
    detail: str


class Platform(Protocol):
    """One machine. Methods raise PlatformFailed when the machine does not do what is asked."""

    @property
    def esp(self) -> Path:
        """The folder where the EFI system partition is mounted."""

    @property
    def data(self) -> Path:
        """The folder of the data partition."""

    @property
    def release_key(self) -> bytes:
        """The public key (PEM) that must have signed an image."""

    def now(self) -> datetime:
        """The machine's calendar, with its zone."""

    def uptime(self) -> float:
        """Seconds since power-on."""

    def boot_id(self) -> str:
        """The kernel's random id of this boot."""

    def running(self) -> Running:
        """The slot and root hash that run."""

    def secure_boot(self) -> bool:
        """Whether the firmware enforced signatures when it booted this."""

    def boot_choice(self) -> BootChoice:
        """What the boot loader will take."""

    def set_default(self, slot: Slot) -> None:
        """Make the slot the choice of every later boot; it is in the firmware's memory when this returns."""

    def set_one_shot(self, slot: Slot | None) -> None:
        """Make the slot the choice of the next boot only; None takes that back."""

    def partition(self, part: Part, slot: Slot) -> Path:
        """The device (or file) that holds a slot's part."""

    def capacity(self, part: Part, slot: Slot) -> int:
        """Bytes that the part can hold."""

    def name_slot(self, slot: Slot, root_hash: str) -> None:
        """Give the slot's partitions the UUIDs by which the boot finds them: the halves of the root hash."""

    def pods(self) -> Sequence[Pod]:
        """The pods that have a live sandbox, as the container runtime itself has it."""

    def kubelet(self) -> KubeletState:
        """Whether the kubelet runs."""

    def checks(self) -> Sequence[Check]:
        """The results of the machine's own checks, made now."""

    def drift(self, image: StoredImage | None) -> Sequence[Finding]:
        """Differences between the running machine and the image's manifest."""

    def reboot(self) -> None:
        """Begin to reboot, and return; the machine may need a minute to go down."""
