"""The two slots, and what may be done with them: decisions only, nothing here touches the machine.

Rules:
1. The slot that runs is never written, and neither is the default of later boots: it is the way back.
2. A digest and a root hash lie in one slot at most: two slots with one root would have equal partition UUIDs, and a
   boot could open either. Before the manifest is fetched only the digest is known, so `stage.py` sees to the root.
3. Only an image that is `ready` can be activated; only the image that runs can be committed.
4. Committed means that the running slot is the firmware's default. There is no second record of it that could differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sealwave.images.agent.errors import Code, Refused

__all__ = [
    "Slot",
    "SlotState",
    "SlotView",
    "StoredImage",
    "View",
    "WayBack",
    "plan_activate",
    "plan_commit",
    "plan_rollback",
    "plan_stage",
]


class Slot(Enum):
    """One of the two places that an image can be booted from."""

    A = "a"
    B = "b"

    @property
    def other(self) -> Slot:
        """The slot that this one is replaced by."""
        return Slot.B if self is Slot.A else Slot.A

    @property
    def entry(self) -> str:
        """The boot loader's name of the slot's entry, which is the file name of its UKI."""
        return f"sealwave-{self.value}.efi"


class SlotState(Enum):
    """What is true of a slot's content."""

    EMPTY = "empty"
    WRITING = "writing"
    READY = "ready"


@dataclass(frozen=True)
class StoredImage:
    """An image whose signed manifest lies beside its slot; only ever made from a verified manifest."""

    digest: str
    name: str
    version: str
    release_number: int
    root_hash: str
    keep: tuple[str, ...]


@dataclass(frozen=True)
class SlotView:
    """A slot as it is now; `image` is None unless its manifest's signature holds."""

    slot: Slot
    state: SlotState
    image: StoredImage | None

    def to_json(self) -> dict[str, Any]:
        """The slot as the machine API shows it."""
        shown: dict[str, Any] = {
            "name": self.slot.value,
            "state": self.state.value,
            "digest": None if self.image is None else self.image.digest,
            "rootHash": None if self.image is None else self.image.root_hash,
        }
        if self.image is not None:
            shown |= {"version": self.image.version, "releaseNumber": self.image.release_number}
        return shown


@dataclass(frozen=True)
class View:
    """Everything that the decisions about slots depend on, observed at one moment."""

    running: Slot
    root_hash: str  # Of the root that runs, as the kernel's verity table has it.
    default: Slot
    one_shot: Slot | None
    slots: Mapping[Slot, SlotView]

    @property
    def committed(self) -> bool:
        """Whether every later boot takes what runs now (rule 4)."""
        return self.running is self.default

    @property
    def image(self) -> StoredImage | None:
        """The running image; None when no verified manifest has the root hash that runs."""
        image = self.slots[self.running].image
        return image if image is not None and image.root_hash == self.root_hash else None

    @property
    def staged(self) -> StoredImage | None:
        """The complete and verified image in the slot that does not run."""
        other = self.slots[self.running.other]
        return other.image if other.state is SlotState.READY else None

    @property
    def activated(self) -> StoredImage | None:
        """The image that the next boot will take once."""
        return self.staged if self.one_shot is self.running.other else None


class WayBack(Enum):
    """How a rollback is done."""

    CLEAR = "the one-shot entry is cleared, and nothing reboots"
    REBOOT = "the machine reboots into the committed slot"


def plan_stage(view: View, digest: str) -> Slot:
    """The slot that the image is to be written to; raises Refused."""
    if view.image is not None and view.image.digest == digest:
        raise Refused(Code.ALREADY_STAGED, f"{digest} is what runs now; there is nothing to stage")
    if view.staged is not None and view.staged.digest == digest:
        raise Refused(Code.ALREADY_STAGED, f"{digest} is complete in slot {view.running.other.value}; activate it")
    if not view.committed:
        raise Refused(
            Code.NOT_COMMITTED, f"slot {view.default.value} is the way back until the running image is committed"
        )
    return view.running.other


def plan_activate(view: View, digest: str) -> Slot:
    """The slot that is to be booted once; raises Refused."""
    if not view.committed:
        raise Refused(Code.NOT_COMMITTED, "the running image is not committed; commit it or roll it back first")
    if view.staged is None or view.staged.digest != digest:
        held = "nothing that is complete" if view.staged is None else view.staged.digest
        raise Refused(Code.NOT_STAGED, f"slot {view.running.other.value} holds {held}, not {digest}; stage it first")
    return view.running.other


def plan_commit(view: View, digest: str, *, expired: bool) -> bool:
    """Whether the default has to be changed (False: it is committed already); raises Refused."""
    if view.image is None:
        raise Refused(Code.SIGNATURE_UNTRUSTED, "no signed manifest describes what runs, so it cannot be committed")
    if view.image.digest != digest:
        raise Refused(Code.DIGEST_MISMATCH, f"{view.image.digest} runs, not {digest}; only what runs can be committed")
    if view.committed:
        return False
    if expired:
        raise Refused(Code.COMMIT_WINDOW_EXPIRED, "the machine is on its way back to the other slot; activate again")
    return True


def plan_rollback(view: View) -> WayBack:
    """How to take an activation back; raises Refused when there is none."""
    if not view.committed:
        return WayBack.REBOOT
    if view.one_shot is not None:
        return WayBack.CLEAR
    raise Refused(Code.NOT_ACTIVATED, "the running image is committed and no other is activated")
