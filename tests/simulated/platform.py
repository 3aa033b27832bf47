"""The agent's seam to the machine, kept in files: slots, EFI system partition and firmware variables in one folder."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sealwave.images.agent import esp
from sealwave.images.agent.platform import BootChoice, Check, Finding, KubeletState, Part, Pod, Running
from sealwave.images.agent.slots import Slot, StoredImage
from sealwave.signing.files import write_atomic

SLOT_BYTES = {Part.ROOT: 8 * 1024 * 1024, Part.VERITY: 1024 * 1024}


@dataclass
class Faults:
    """What goes wrong on a machine; change it at any time.

    `boot_fails` and `kubelet_broken` hold image digests: the first never come up (the machine falls back to its
    default slot, as after a panic), the second come up with a kubelet that does not run.
    """

    boot_fails: set[str] = field(default_factory=set)
    kubelet_broken: set[str] = field(default_factory=set)
    failed_checks: set[str] = field(default_factory=set)
    secure_boot: bool = True
    stage_delay: float = 0.0  # Seconds per chunk that is fetched.
    boot_seconds: float = 0.0  # From power-off until the agent answers again.


class FilePlatform:
    """A machine in a folder; satisfies `Platform`. Construct it again for each boot."""

    def __init__(
        self,
        folder: Path,
        *,
        release_key: bytes,
        faults: Faults,
        pods: Callable[[], Sequence[Pod]],
        on_reboot: Callable[[], None],
    ) -> None:
        self.folder = folder
        self.esp = folder / "esp"
        self.data = folder / "data"
        self.release_key = release_key
        self.faults = faults
        self._pods = pods
        self._on_reboot = on_reboot
        self._powered = time.monotonic()
        self._boot_id = str(uuid.uuid4())
        self._slot = self._take_slot()

    @staticmethod
    def install(folder: Path, image: Path) -> None:
        """Write a disk whose slot a holds the image, as the factory does it."""
        (folder / "esp" / "EFI" / "Linux").mkdir(parents=True)
        (folder / "data").mkdir(parents=True)
        for part in Part:
            for slot in Slot:
                with (folder / f"{part.value}-{slot.value}").open("wb") as stream:
                    stream.truncate(SLOT_BYTES[part])
        for part, name in ((Part.ROOT, "root.erofs"), (Part.VERITY, "root.verity")):
            with (folder / f"{part.value}-a").open("r+b") as stream:
                stream.write((image / name).read_bytes())
        document, envelope = (image / "image.json").read_bytes(), (image / "image.json.dsse").read_bytes()
        esp.write_manifest(folder / "esp", Slot.A, document, envelope)
        esp.write_file(esp.entry_path(folder / "esp", Slot.A), [(image / "uki.efi").read_bytes()])
        root_hash = json.loads(document)["rootHash"]
        _write_variables(folder, {"default": "a", "oneShot": None, "names": {"a": root_hash}})

    def _take_slot(self) -> Slot:
        """What firmware and boot loader do: the one-shot entry is used up, and must exist, verify and come up."""
        variables = _read_variables(self.folder)
        default = Slot(variables["default"])
        wanted = default if variables["oneShot"] is None else Slot(variables["oneShot"])
        _write_variables(self.folder, {**variables, "oneShot": None})
        return wanted if self._comes_up(wanted) else default

    def _comes_up(self, slot: Slot) -> bool:
        image = esp.read_image(self.esp, slot, key=self.release_key)
        if image is None or not esp.entry_path(self.esp, slot).exists():
            return False
        named = _read_variables(self.folder)["names"].get(slot.value) == image.root_hash
        return named and image.digest not in self.faults.boot_fails

    @property
    def digest(self) -> str | None:
        """The digest of the running image."""
        image = esp.read_image(self.esp, self._slot, key=self.release_key)
        return None if image is None else image.digest

    def now(self) -> datetime:
        return datetime.now(UTC)

    def uptime(self) -> float:
        return time.monotonic() - self._powered

    def age(self, seconds: float) -> None:
        """Let the machine have been up for this much longer."""
        self._powered -= seconds

    def boot_id(self) -> str:
        return self._boot_id

    def running(self) -> Running:
        return Running(self._slot, _read_variables(self.folder)["names"][self._slot.value])

    def secure_boot(self) -> bool:
        return self.faults.secure_boot

    def boot_choice(self) -> BootChoice:
        variables = _read_variables(self.folder)
        one_shot = variables["oneShot"]
        return BootChoice(Slot(variables["default"]), None if one_shot is None else Slot(one_shot))

    def set_default(self, slot: Slot) -> None:
        _write_variables(self.folder, {**_read_variables(self.folder), "default": slot.value})

    def set_one_shot(self, slot: Slot | None) -> None:
        value = None if slot is None else slot.value
        _write_variables(self.folder, {**_read_variables(self.folder), "oneShot": value})

    def partition(self, part: Part, slot: Slot) -> Path:
        return self.folder / f"{part.value}-{slot.value}"

    def capacity(self, part: Part, slot: Slot) -> int:
        return SLOT_BYTES[part]

    def name_slot(self, slot: Slot, root_hash: str) -> None:
        variables = _read_variables(self.folder)
        _write_variables(self.folder, {**variables, "names": {**variables["names"], slot.value: root_hash}})

    def pods(self) -> Sequence[Pod]:
        return self._pods()

    def kubelet(self) -> KubeletState:
        broken = self.digest in self.faults.kubelet_broken
        return KubeletState(not broken, "failed (exit-code), restarted 5 times" if broken else "active (running)")

    def checks(self) -> Sequence[Check]:
        names = ["secure-boot", "verity", "kubelet"]
        failed = set(self.faults.failed_checks)
        failed |= set() if self.kubelet().active else {"kubelet"}
        failed |= set() if self.secure_boot() else {"secure-boot"}
        return [Check(name, name not in failed, "simulated") for name in sorted({*names, *failed})]

    def drift(self, image: StoredImage | None) -> Sequence[Finding]:
        return []

    def reboot(self) -> None:
        self._on_reboot()


def _read_variables(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "variables.json").read_text())
    return content


def _write_variables(folder: Path, variables: dict[str, Any]) -> None:
    write_atomic(folder / "variables.json", json.dumps(variables).encode())
