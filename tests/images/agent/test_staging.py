"""Staging from sources that are wrong in every way: nothing unverified is written, nothing half can be booted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sealwave.images.agent import esp, memory
from sealwave.images.agent.memory import Memory, OperationState
from sealwave.images.agent.platform import Part
from sealwave.images.agent.slots import Slot
from tests.images.agent.conftest import V2_SOURCE, V3_SOURCE
from tests.simulated.client import BareClient, until
from tests.simulated.images import SigningPair
from tests.simulated.machine import FakeImage, SimulatedMachine, Trust, make_image

OTHER_DIGEST = "sha256:" + "e" * 64


def test_power_cut_while_staging(client: BareClient, machine: SimulatedMachine, v2: FakeImage) -> None:
    machine.faults.stage_delay = 0.05
    started = client.post("/v1/image/stage", digest=v2.digest, source=V2_SOURCE)
    until(lambda: client.get(f"/v1/operations/{started.body['id']}").body["bytes"] > 0)
    machine.power_cut()
    machine.faults.stage_delay = 0
    operation = client.get(f"/v1/operations/{started.body['id']}").body
    assert (operation["state"], operation["problem"]["code"]) == ("failed", "internal")
    assert not esp.entry_path(machine.platform.esp, Slot.B).exists()
    assert client.get("/v1/slots").body["slots"][1]["state"] == "writing"
    assert client.stage(v2.digest, V2_SOURCE)["state"] == "succeeded"


def spoil(path: Path, *, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


def cut(path: Path, *, to: int) -> None:
    path.write_bytes(path.read_bytes()[:to])


BAD_SOURCES: dict[str, tuple[Callable[[FakeImage], None], str]] = {
    "block of the root": (lambda image: spoil(image.folder / "root.erofs", at=200 * 4096 + 17), "content_mismatch"),
    "block of the tree": (lambda image: spoil(image.folder / "root.verity", at=4096 * 2 + 5), "content_mismatch"),
    "byte of the UKI": (lambda image: spoil(image.folder / "uki.efi", at=99), "content_mismatch"),
    "byte of the manifest": (lambda image: spoil(image.folder / "image.json", at=40), "digest_mismatch"),
    "byte of the signature": (lambda image: spoil(image.folder / "image.json.dsse", at=40), "signature_untrusted"),
    "root cut": (lambda image: cut(image.folder / "root.erofs", to=100 * 4096 + 1), "source_unavailable"),
    "tree cut": (lambda image: cut(image.folder / "root.verity", to=4096), "source_unavailable"),
    "UKI cut": (lambda image: cut(image.folder / "uki.efi", to=100), "source_unavailable"),
    "no signature": (lambda image: (image.folder / "image.json.dsse").unlink(), "source_unavailable"),
    "no image": (lambda image: (image.folder / "image.json").unlink(), "source_unavailable"),
}


@pytest.mark.parametrize("name", BAD_SOURCES)
def test_bad_source_leaves_no_entry(
    name: str, client: BareClient, machine: SimulatedMachine, v1: FakeImage, v2: FakeImage, v3: FakeImage
) -> None:
    harm, code = BAD_SOURCES[name]
    harm(v2)
    failed = client.stage(v2.digest, V2_SOURCE)
    assert (failed["state"], failed["problem"]["code"]) == ("failed", code)
    assert not esp.entry_path(machine.platform.esp, Slot.B).exists()
    assert not esp.temporary_entry(machine.platform.esp, Slot.B).exists()
    assert client.get("/v1/status").body["staged"] is None
    assert client.post("/v1/image/activate", digest=v2.digest).code == "not_staged"
    machine.power_cut()
    assert client.get("/v1/status").body["digest"] == v1.digest
    assert client.stage(v3.digest, V3_SOURCE)["state"] == "succeeded"


def test_spoiled_block_is_not_written(client: BareClient, machine: SimulatedMachine, v2: FakeImage) -> None:
    spoil(v2.folder / "root.erofs", at=0)
    client.stage(v2.digest, V2_SOURCE)
    written = machine.platform.partition(Part.ROOT, Slot.B).read_bytes()
    assert written == bytes(len(written))


def test_a_staged_slot_loses_its_entry_first(
    client: BareClient, machine: SimulatedMachine, v2: FakeImage, v3: FakeImage
) -> None:
    client.stage(v2.digest, V2_SOURCE)
    client.post("/v1/image/activate", digest=v2.digest)
    spoil(v3.folder / "root.verity", at=5000)
    assert client.stage(v3.digest, V3_SOURCE)["state"] == "failed"
    slots = client.get("/v1/slots").body
    assert (slots["oneShot"], slots["slots"][1]["state"]) == (None, "writing")


def test_image_of_another_key(tmp_path: Path, trust: Trust, v1: FakeImage) -> None:
    forged = make_image(tmp_path / "forged", version="9", release=SigningPair.make())
    sources = {V2_SOURCE: forged.folder}
    with SimulatedMachine("node-9", tmp_path / "node-9", trust=trust, image=v1, sources=sources) as machine:
        client = BareClient(machine, trust, tmp_path)
        failed = client.stage(forged.digest, V2_SOURCE)
        client.close()
    assert failed["problem"]["code"] == "signature_untrusted"


def test_image_too_large(tmp_path: Path, trust: Trust, v1: FakeImage) -> None:
    large = make_image(tmp_path / "large", version="L", release=trust.release, blocks=2049)
    sources = {V2_SOURCE: large.folder}
    with SimulatedMachine("node-9", tmp_path / "node-9", trust=trust, image=v1, sources=sources) as machine:
        client = BareClient(machine, trust, tmp_path)
        failed = client.stage(large.digest, V2_SOURCE)
        client.close()
    assert failed["problem"]["code"] == "image_too_large"


def test_forged_manifest_on_the_esp_is_not_believed(
    client: BareClient, machine: SimulatedMachine, v2: FakeImage
) -> None:
    esp.write_manifest(
        machine.platform.esp,
        Slot.A,
        (v2.folder / "image.json").read_bytes(),
        (v2.folder / "image.json.dsse").read_bytes(),
    )
    status = client.get("/v1/status").body
    assert status["digest"] is None
    assert client.post("/v1/image/commit", digest=v2.digest).code == "signature_untrusted"


def test_a_stage_whose_record_failed_is_forgotten(
    client: BareClient,
    v2: FakeImage,
    monkeypatch: pytest.MonkeyPatch,
    full_disk: Callable[[Callable[[Memory], bool]], list[Memory]],
) -> None:
    client.stage(v2.digest, V2_SOURCE)
    full_disk(lambda memory: memory.running_operation is not None)
    assert client.post("/v1/image/stage", digest=OTHER_DIGEST, source=V3_SOURCE).code == "internal"
    monkeypatch.undo()
    client.fence = 2
    assert client.post("/v1/image/activate", digest=v2.digest).status == 200
    assert not any(thread.name == "stage" for thread in threading.enumerate())
    assert client.get("/v1/status").body["activated"] == v2.digest


def test_an_end_that_cannot_be_written_is_tried_again(
    client: BareClient,
    v2: FakeImage,
    monkeypatch: pytest.MonkeyPatch,
    full_disk: Callable[[Callable[[Memory], bool]], list[Memory]],
) -> None:
    monkeypatch.setattr(memory, "TRY_AGAIN", 0.01)
    room = threading.Event()

    def ends(wanted: Memory) -> bool:
        return any(item.state is OperationState.SUCCEEDED for item in wanted.operations.values())

    refused = full_disk(lambda wanted: ends(wanted) and not room.is_set())
    started = client.post("/v1/image/stage", digest=v2.digest, source=V2_SOURCE)
    until(lambda: len(refused) > 1)
    assert client.get(f"/v1/operations/{started.body['id']}").body["state"] == "running"
    room.set()
    assert client.wait(started.body["id"])["state"] == "succeeded"
