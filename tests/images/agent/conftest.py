from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sealwave.images.agent.errors import PlatformFailed
from sealwave.images.agent.memory import Memory, MemoryFile
from tests.simulated.client import BareClient
from tests.simulated.machine import FakeImage, SimulatedMachine, Trust, make_image

V2_SOURCE = "https://images.test/v2"
V3_SOURCE = "https://images.test/v3"


@pytest.fixture(scope="session")
def trust() -> Trust:
    return Trust.make()


@pytest.fixture
def v1(tmp_path: Path, trust: Trust) -> FakeImage:
    return make_image(tmp_path / "v1", version="1", release=trust.release)


@pytest.fixture
def v2(tmp_path: Path, trust: Trust) -> FakeImage:
    return make_image(tmp_path / "v2", version="2", release=trust.release, release_number=2)


@pytest.fixture
def v3(tmp_path: Path, trust: Trust) -> FakeImage:
    return make_image(tmp_path / "v3", version="3", release=trust.release, release_number=3)


@pytest.fixture
def machine(tmp_path: Path, trust: Trust, v1: FakeImage, v2: FakeImage, v3: FakeImage) -> Iterator[SimulatedMachine]:
    sources = {V2_SOURCE: v2.folder, V3_SOURCE: v3.folder}
    with SimulatedMachine("node-1", tmp_path / "node-1", trust=trust, image=v1, sources=sources) as machine:
        yield machine


@pytest.fixture
def client(machine: SimulatedMachine, trust: Trust, tmp_path: Path) -> Iterator[BareClient]:
    client = BareClient(machine, trust, tmp_path)
    yield client
    client.close()


@pytest.fixture
def observer(machine: SimulatedMachine, trust: Trust, tmp_path: Path) -> Iterator[BareClient]:
    client = BareClient(machine, trust, tmp_path, role="observer")
    yield client
    client.close()


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Memory], bool]], list[Memory]]:
    """Call it with what the disk has no room for; the list that it gives back holds what was refused."""

    def fill(refuses: Callable[[Memory], bool]) -> list[Memory]:
        refused: list[Memory] = []
        write = MemoryFile._write

        def full(file: MemoryFile, memory: Memory) -> None:
            if refuses(memory):
                refused.append(memory)
                raise PlatformFailed("writing state.json", "No space left on device")
            write(file, memory)

        monkeypatch.setattr(MemoryFile, "_write", full)
        return refused

    return fill
