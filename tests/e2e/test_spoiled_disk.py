"""Disks that differ from a good one in a single byte, on real boots: the firmware refuses one, the kernel the other."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from sealwave.images import disk as disks
from sealwave.images import uki
from sealwave.images.agent import gpt
from sealwave.images.erofsread import Reader
from sealwave.infra.lab.accelerator import choose
from sealwave.infra.lab.machine import Machine, MachineSpec
from sealwave.infra.lab.pipeline import BuiltImage, Pipeline
from sealwave.infra.lab.ports import free_ports
from sealwave.infra.settings import Settings
from sealwave.signing.keys import LabKeys

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1500)]

SPEC = Path(__file__).resolve().parents[2] / "examples" / "node-image-v1.yaml"
BOOT_LIMIT = 300.0
"""Seconds until a machine must have said what is expected; 35 s on an idle host under emulation."""

UP = "is up, machine "
KERNEL_STARTED = "systemd["
"""The first words of the console that come from behind the boot loader: PID 1 of the initrd."""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[BuiltImage, LabKeys]:
    folder = tmp_path_factory.mktemp("spoiled")
    keys = LabKeys.ensure(folder / "keys", now=datetime.now(UTC))
    pipeline = Pipeline(folder / "images", keys=keys, settings=Settings.from_environment(), report=print)
    return pipeline.build(SPEC), keys


class Console:
    """The serial console of a running machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @property
    def text(self) -> str:
        path = self._machine.console
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def wait_for(self, *wanted: str) -> str:
        end = time.monotonic() + BOOT_LIMIT
        while time.monotonic() < end:
            text = self.text
            if any(needle in text for needle in wanted):
                return text
            self._machine.require_running()
            time.sleep(0.5)
        pytest.fail(f"none of {wanted} on the console in {BOOT_LIMIT:.0f} s; it says:\n{self.text[-4000:]}")


@contextmanager
def running(base: Path, keys: LabKeys, built: BuiltImage, folder: Path) -> Iterator[Console]:
    spec = MachineSpec(
        name="node-1", number=1, uuid=UUID("6e3f1c9e-0d55-4d4a-9f2c-000000000001"), port=free_ports(1)[0]
    )
    accelerator = choose(built.uki, folder / "accelerator.json")
    machine = Machine(spec, folder / "machine", accelerator=accelerator)
    machine.prepare(base=base, keys=keys, configuration=bytes(1 << 20))
    machine.start()
    try:
        yield Console(machine)
    finally:
        machine.power_off()


def partition(disk: Path, name: str) -> gpt.Partition:
    with disk.open("rb") as file:
        return gpt.parse_head(file.read(gpt.HEAD_BYTES)).named(name)


def copy_with_flipped_byte(disk: Path, at: int, folder: Path) -> Path:
    spoiled = folder / "spoiled.raw"
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(disk), str(spoiled)], check=True)
    with spoiled.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x01]))
    return spoiled


def test_the_good_disk_boots_verified(image: tuple[BuiltImage, LabKeys], tmp_path: Path) -> None:
    built, keys = image
    with running(built.disk, keys, built, tmp_path) as console:
        text = console.wait_for(UP)
    assert "corrupted" not in text
    assert "Access Denied" not in text


def test_the_firmware_refuses_a_kernel_with_a_flipped_byte(image: tuple[BuiltImage, LabKeys], tmp_path: Path) -> None:
    built, keys = image
    content = built.uki.read_bytes()
    initrd = uki.read_sections(content)[".initrd"]
    inside = content.index(initrd[:4096]) + len(initrd) // 2 // 4096 * 4096
    esp = partition(built.disk, "esp")
    with built.disk.open("rb") as file:
        file.seek(esp.offset)
        at = esp.offset + file.read(esp.size).index(content[inside : inside + 4096])
    spoiled = copy_with_flipped_byte(built.disk, at, tmp_path)
    with running(spoiled, keys, built, tmp_path) as console:
        text = console.wait_for("Access denied", "Access Denied", "Security Violation", UP)
        assert UP not in text
        assert KERNEL_STARTED not in text
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_the_kernel_refuses_a_root_with_a_flipped_byte_and_reboots(
    image: tuple[BuiltImage, LabKeys], tmp_path: Path
) -> None:
    built, keys = image
    with (built.folder / "root.erofs").open("rb") as file:
        init = next(node for node in Reader(file).walk() if node.path == "usr/lib/systemd/systemd")
    at = partition(built.disk, "root-a").offset + init.offset + 100
    spoiled = copy_with_flipped_byte(built.disk, at, tmp_path)
    assert disks.slot_guids(spoiled_hash(built))[0] == partition(spoiled, "root-a").guid
    with running(spoiled, keys, built, tmp_path) as console:
        text = console.wait_for("Kernel panic", UP)
        assert UP not in text
        assert "is corrupted" in text
        # The panic leads back by itself: the firmware starts the machine again.
        console.wait_for("Rebooting in 10 seconds")
        before = console.text.count("BdsDxe: starting")
        end = time.monotonic() + BOOT_LIMIT
        while console.text.count("BdsDxe: starting") == before and time.monotonic() < end:
            time.sleep(0.5)
        assert console.text.count("BdsDxe: starting") > before
    shutil.rmtree(tmp_path, ignore_errors=True)


def spoiled_hash(built: BuiltImage) -> str:
    words = uki.read_sections(built.uki.read_bytes())[".cmdline"].decode().split()
    return words[0].removeprefix("roothash=")
