"""The way back with nobody there, on a machine in files and without the agent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sealwave.images.agent.backstop import keep_watch, leave_if_overdue, seconds_left
from sealwave.images.agent.errors import PlatformFailed
from sealwave.images.agent.memory import MemoryFile
from sealwave.images.agent.platform import BootChoice
from sealwave.images.agent.slots import Slot
from sealwave.images.agent.window import DEFAULT_WINDOW, Activation, History, Leaving
from tests.simulated.images import FakeImage, Trust
from tests.simulated.platform import Faults, FilePlatform


class Machine(FilePlatform):
    """Counts its reboots."""

    reboots = 0

    @classmethod
    def make(cls, folder: Path, image: FakeImage, trust: Trust) -> Machine:
        folder.mkdir()
        cls.install(folder, image.folder)
        return cls(
            folder, release_key=trust.release.public_pem, faults=Faults(), pods=lambda: [], on_reboot=lambda: None
        )

    def reboot(self) -> None:
        self.reboots += 1


@pytest.fixture
def node(tmp_path: Path, v1: FakeImage, trust: Trust) -> Machine:
    """Runs slot a, and b is the committed one: the window is open."""
    node = Machine.make(tmp_path / "node", v1, trust)
    node.set_default(Slot.B)
    return node


def memory(node: Machine) -> MemoryFile:
    return MemoryFile(node.data / "agent")


def test_in_time(node: Machine) -> None:
    assert not leave_if_overdue(node, memory(node), window=600)
    left = seconds_left(node, window=600)
    assert left is not None
    assert 590 < left <= 600
    assert node.reboots == 0


def test_too_late(node: Machine) -> None:
    node.age(600)
    assert leave_if_overdue(node, memory(node), window=600)
    assert node.reboots == 1
    assert memory(node).read().history.leaving is Leaving.WINDOW_EXPIRED


def test_committed(node: Machine) -> None:
    node.age(600)
    node.set_default(Slot.A)
    assert seconds_left(node, window=600) is None
    assert not leave_if_overdue(node, memory(node), window=600)
    assert node.reboots == 0


def test_spoiled_memory_does_not_save_the_image(node: Machine) -> None:
    node.age(600)
    (node.data / "agent").mkdir()
    (node.data / "agent" / "state.json").write_text("spoiled")
    assert leave_if_overdue(node, memory(node), window=600)
    assert node.reboots == 1


def test_a_held_lock_does_not_save_the_image(node: Machine) -> None:
    node.age(600)
    with memory(node).change():
        assert leave_if_overdue(node, memory(node), window=600, patience=0.2)
    assert node.reboots == 1


def test_watch_ends_with_the_commit(node: Machine, tmp_path: Path) -> None:
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        node.set_default(Slot.A)

    keep_watch(node, sleep=sleep, committed=tmp_path / "run" / "committed")
    assert naps == [15.0]
    assert (tmp_path / "run" / "committed").exists()
    assert node.reboots == 0


def test_watch_without_a_configuration_uses_the_default_window(node: Machine, tmp_path: Path) -> None:
    keep_watch(node, sleep=node.age, committed=tmp_path / "committed")
    assert node.reboots == 1
    assert node.uptime() >= DEFAULT_WINDOW
    assert not (tmp_path / "committed").exists()


@pytest.mark.parametrize("activated", [None, Slot.A, Slot.B])
def test_last_resort_spares_what_was_not_activated(
    node: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, activated: Slot | None
) -> None:
    if activated is not None:
        with memory(node).change() as change:
            activation = Activation("sha256:1", activated, armed=True, booted=None)
            change.memory = replace(change.memory, history=History(activation=activation))

    def unreadable() -> BootChoice:
        raise PlatformFailed("reading the boot loader's variables", "LoaderInfo is not there")

    monkeypatch.setattr(node, "boot_choice", unreadable)
    with pytest.raises(PlatformFailed, match="LoaderInfo"):
        keep_watch(node, committed=tmp_path / "committed")
    assert (tmp_path / "committed").exists() is (activated is not Slot.A)
    assert node.reboots == 0
