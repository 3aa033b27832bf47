"""What the agent sees of its machine, put together for decisions and for answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sealwave.images.agent import esp
from sealwave.images.agent.memory import Memory
from sealwave.images.agent.platform import Platform, Pod
from sealwave.images.agent.slots import Slot, SlotState, SlotView, View
from sealwave.images.agent.window import BootReason, deadline

__all__ = ["observe", "pods_json", "slots_json", "status_json"]


def observe(platform: Platform, memory: Memory) -> View:
    """The slots and the boot loader's choice as they are now."""
    running, choice = platform.running(), platform.boot_choice()
    return View(
        running=running.slot,
        root_hash=running.root_hash,
        default=choice.default,
        one_shot=choice.one_shot,
        slots={slot: _slot_view(platform, memory, slot) for slot in Slot},
    )


def _slot_view(platform: Platform, memory: Memory, slot: Slot) -> SlotView:
    if memory.writing is slot:
        return SlotView(slot, SlotState.WRITING, None)
    image = esp.read_image(platform.esp, slot, key=platform.release_key)
    if image is None or not esp.entry_path(platform.esp, slot).exists():
        return SlotView(slot, SlotState.EMPTY, None)
    return SlotView(slot, SlotState.READY, image)


def status_json(platform: Platform, memory: Memory, *, machine: str, window: int) -> dict[str, Any]:
    """The body of `GET /v1/status`."""
    view, kubelet, boot = observe(platform, memory), platform.kubelet(), memory.history.boot
    until = deadline(platform.now(), committed=view.committed, uptime=platform.uptime(), window=window)
    return {
        "machine": machine,
        "bootId": platform.boot_id(),
        "digest": None if view.image is None else view.image.digest,
        "rootHash": view.root_hash,
        "slot": view.running.value,
        "committed": view.committed,
        "activated": None if view.activated is None else view.activated.digest,
        "staged": None if view.staged is None else view.staged.digest,
        "commitDeadline": None if until is None else until.isoformat(timespec="seconds"),
        "secureBoot": platform.secure_boot(),
        "fence": memory.fence,
        "kubelet": {"active": kubelet.active, "detail": kubelet.detail},
        "pods": pods_json(platform.pods()),
        "bootReason": (BootReason.NORMAL if boot is None else boot.reason).value,
    }


def slots_json(view: View) -> dict[str, Any]:
    """The body of `GET /v1/slots`."""
    return {
        "running": view.running.value,
        "default": view.default.value,
        "oneShot": None if view.one_shot is None else view.one_shot.value,
        "slots": [view.slots[slot].to_json() for slot in Slot],
    }


def pods_json(pods: Sequence[Pod]) -> list[dict[str, str]]:
    """Pods as the machine API shows them."""
    return [{"namespace": pod.namespace, "name": pod.name, "uid": pod.uid} for pod in pods]
