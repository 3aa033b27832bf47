"""Boots and the commit window: why this boot is what it is, and until when it may be committed.

Time is counted from power-on by the kernel's own clock (seconds of uptime), because the calendar of a machine may jump
when it first hears of the right time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from sealwave.images.agent.slots import Slot

__all__ = [
    "DEFAULT_WINDOW",
    "Activation",
    "Boot",
    "BootReason",
    "History",
    "Leaving",
    "deadline",
    "expired",
    "recognise_boot",
]

# Seconds. Used only when no configuration can be read: longer than any sane window, so that it is the last resort.
DEFAULT_WINDOW = 1800


class BootReason(Enum):
    """Why the machine runs the slot that it runs."""

    NORMAL = "normal"
    FIRST_BOOT = "first-boot"
    ACTIVATED = "activated"
    ROLLED_BACK = "rolled-back"
    WINDOW_EXPIRED = "window-expired"


class Leaving(Enum):
    """Why the agent itself was about to reboot out of an image that is not committed."""

    ROLLBACK = "rollback"
    WINDOW_EXPIRED = "window-expired"


@dataclass(frozen=True)
class Boot:
    """The boot that was recorded last."""

    boot_id: str
    reason: BootReason


@dataclass(frozen=True)
class Activation:
    """An image that was made the next boot's choice and is neither committed nor taken back."""

    digest: str
    slot: Slot
    armed: bool  # The firmware has the one-shot entry; False is an intent whose effect is not known to have happened.
    booted: str | None  # The boot id in which it came up.


@dataclass(frozen=True)
class History:
    """What the machine remembers of its boots."""

    boot: Boot | None = None
    activation: Activation | None = None
    leaving: Leaving | None = None


def recognise_boot(history: History, *, boot_id: str, running: Slot, one_shot: Slot | None) -> History:
    """The history after this boot was seen; equal to `history` when it was seen before.

    What can have happened to an activation, by what is observed:

    - its slot runs, for the first time: the boot is `activated`;
    - the default runs and the entry is still armed in the firmware: it was not tried yet, the boot is `normal`;
    - the default runs and the image never came up: a panic, a hang or a refused signature, `rolled-back`;
    - the default runs after it had come up: as the agent noted before it left, else it died: `rolled-back`.
    """
    if history.boot is not None and history.boot.boot_id == boot_id:
        return history
    reason, activation = _judge(history, boot_id=boot_id, running=running, one_shot=one_shot)
    return History(boot=Boot(boot_id, reason), activation=activation, leaving=None)


def _judge(
    history: History, *, boot_id: str, running: Slot, one_shot: Slot | None
) -> tuple[BootReason, Activation | None]:
    activation = history.activation
    if activation is None:
        return (BootReason.FIRST_BOOT if history.boot is None else BootReason.NORMAL), None
    if running is activation.slot:
        return BootReason.ACTIVATED, replace(activation, armed=True, booted=boot_id)
    if activation.booted is None and one_shot is activation.slot:
        return BootReason.NORMAL, activation
    if activation.booted is None and not activation.armed:
        return BootReason.NORMAL, None
    if history.leaving is Leaving.WINDOW_EXPIRED:
        return BootReason.WINDOW_EXPIRED, None
    return BootReason.ROLLED_BACK, None


def expired(*, committed: bool, uptime: float, window: int) -> bool:
    """Whether an image that is not committed has to leave; both times in seconds."""
    return not committed and uptime >= window


def deadline(now: datetime, *, committed: bool, uptime: float, window: int) -> datetime | None:
    """The moment by which the running image must be committed, in the machine's calendar; None once it is."""
    return None if committed else now + timedelta(seconds=window - uptime)
