"""The whole agent over real TLS: staging, the swap of slots, the way back, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sealwave.images.agent import esp
from sealwave.images.agent.errors import PlatformFailed
from sealwave.images.agent.memory import Memory
from sealwave.images.agent.platform import Part
from sealwave.images.agent.slots import Slot
from tests.images.agent.conftest import V2_SOURCE, V3_SOURCE
from tests.simulated.client import BareClient
from tests.simulated.machine import FakeImage, Pod, SimulatedMachine, Trust

OTHER_DIGEST = "sha256:" + "e" * 64
OTHER_BOOT = "00000000-0000-4000-8000-000000000000"


def swap(client: BareClient, machine: SimulatedMachine, image: FakeImage, source: str) -> None:
    """Stage, activate and reboot; the caller commits."""
    assert client.stage(image.digest, source)["state"] == "succeeded"
    assert client.post("/v1/image/activate", digest=image.digest).status == 200
    boots = machine.boots
    assert client.post("/v1/power", action="reboot", remainingPods=[]).status == 202
    machine.wait_boot(boots + 1)


def test_first_boot(client: BareClient, v1: FakeImage) -> None:
    status = client.get("/v1/status").body
    assert status["digest"] == v1.digest
    assert status["rootHash"] == v1.root_hash
    assert (status["slot"], status["committed"], status["bootReason"]) == ("a", True, "first-boot")
    assert status["commitDeadline"] is None
    assert client.get("/v1/version").body["image"] == "node 1"
    assert client.get("/v1/drift").body == {"drift": []}
    assert client.get("/v1/checks").body["passed"] is True


def test_swap_and_commit(client: BareClient, machine: SimulatedMachine, v1: FakeImage, v2: FakeImage) -> None:
    swap(client, machine, v2, V2_SOURCE)
    status = client.get("/v1/status").body
    assert status["digest"] == v2.digest
    assert (status["slot"], status["committed"], status["bootReason"]) == ("b", False, "activated")
    assert status["commitDeadline"] is not None
    committed = client.post("/v1/image/commit", digest=v2.digest)
    assert committed.body["committed"] is True
    machine.power_cut()
    status = client.get("/v1/status").body
    assert (status["digest"], status["bootReason"]) == (v2.digest, "normal")
    slots = client.get("/v1/slots").body
    assert [slot["digest"] for slot in slots["slots"]] == [v1.digest, v2.digest]
    assert (slots["running"], slots["default"], slots["oneShot"]) == ("b", "b", None)


def test_staged_slot_holds_the_image(client: BareClient, machine: SimulatedMachine, v2: FakeImage) -> None:
    operation = client.stage(v2.digest, V2_SOURCE)
    assert (operation["state"], operation["progress"]) == ("succeeded", 1.0)
    for part, name in ((Part.ROOT, "root.erofs"), (Part.VERITY, "root.verity")):
        content = (v2.folder / name).read_bytes()
        assert machine.platform.partition(part, Slot.B).read_bytes()[: len(content)] == content
    assert esp.entry_path(machine.platform.esp, Slot.B).read_bytes() == (v2.folder / "uki.efi").read_bytes()
    assert client.get("/v1/status").body["staged"] == v2.digest


def test_rollback_before_the_reboot(
    client: BareClient, machine: SimulatedMachine, v1: FakeImage, v2: FakeImage
) -> None:
    client.stage(v2.digest, V2_SOURCE)
    client.post("/v1/image/activate", digest=v2.digest)
    assert client.get("/v1/status").body["activated"] == v2.digest
    reply = client.post("/v1/image/rollback", reason="changed my mind")
    assert (reply.status, reply.body["activated"], reply.body["staged"]) == (200, None, v2.digest)
    machine.power_cut()
    status = client.get("/v1/status").body
    assert (status["digest"], status["bootReason"]) == (v1.digest, "normal")


def test_rollback_after_the_reboot(client: BareClient, machine: SimulatedMachine, v1: FakeImage, v2: FakeImage) -> None:
    swap(client, machine, v2, V2_SOURCE)
    reply = client.post("/v1/image/rollback", reason="a gate failed")
    assert reply.status == 202
    machine.wait_boot(3)
    status = client.get("/v1/status").body
    assert (status["digest"], status["bootReason"], status["committed"]) == (v1.digest, "rolled-back", True)
    assert client.get(f"/v1/operations/{reply.body['id']}").body["state"] == "succeeded"


def test_window_expires_with_nobody_there(
    client: BareClient, machine: SimulatedMachine, v1: FakeImage, v2: FakeImage
) -> None:
    swap(client, machine, v2, V2_SOURCE)
    machine.age(601)
    machine.wait_boot(3)
    status = client.get("/v1/status").body
    assert (status["digest"], status["bootReason"]) == (v1.digest, "window-expired")


def test_image_that_does_not_come_up(
    client: BareClient, machine: SimulatedMachine, v1: FakeImage, v2: FakeImage
) -> None:
    machine.faults.boot_fails.add(v2.digest)
    swap(client, machine, v2, V2_SOURCE)
    status = client.get("/v1/status").body
    assert (status["digest"], status["bootReason"]) == (v1.digest, "rolled-back")


def test_crash_inside_the_window(client: BareClient, machine: SimulatedMachine, v1: FakeImage, v2: FakeImage) -> None:
    swap(client, machine, v2, V2_SOURCE)
    machine.power_cut()
    status = client.get("/v1/status").body
    assert (status["digest"], status["bootReason"]) == (v1.digest, "rolled-back")


def test_commit_after_the_window(client: BareClient, machine: SimulatedMachine, v2: FakeImage) -> None:
    swap(client, machine, v2, V2_SOURCE)
    machine.platform.age(601)
    assert client.post("/v1/image/commit", digest=v2.digest).code == "commit_window_expired"


def test_uncommitted_machine_keeps_its_way_back(
    client: BareClient, machine: SimulatedMachine, v2: FakeImage, v3: FakeImage
) -> None:
    swap(client, machine, v2, V2_SOURCE)
    assert client.post("/v1/image/stage", digest=v3.digest, source=V3_SOURCE).code == "not_committed"


def test_broken_kubelet_is_told(client: BareClient, machine: SimulatedMachine, v2: FakeImage) -> None:
    machine.faults.kubelet_broken.add(v2.digest)
    swap(client, machine, v2, V2_SOURCE)
    assert client.get("/v1/status").body["kubelet"]["active"] is False
    assert client.get("/v1/checks").body["passed"] is False


@dataclass(frozen=True)
class Case:
    """A changing call on a machine that was just installed, and the problem that it gets."""

    name: str
    path: str
    code: str
    status: int
    members: dict[str, Any] = field(default_factory=dict)


REFUSED = [
    Case("stage of the running image", "/v1/image/stage", "already_staged", 409, {"digest": "V1", "source": V2_SOURCE}),
    Case("another boot", "/v1/image/activate", "boot_id_mismatch", 409, {"digest": "V2", "bootId": OTHER_BOOT}),
    Case("lower fence", "/v1/image/activate", "stale_fence", 409, {"digest": "V2", "fence": 0}),
    Case("both wrong", "/v1/image/commit", "stale_fence", 409, {"fence": 0, "bootId": OTHER_BOOT, "digest": "V1"}),
    Case("activate what is not staged", "/v1/image/activate", "not_staged", 409, {"digest": "V2"}),
    Case("activate the running image", "/v1/image/activate", "not_staged", 409, {"digest": "V1"}),
    Case("commit of another image", "/v1/image/commit", "digest_mismatch", 409, {"digest": "V2"}),
    Case("rollback of nothing", "/v1/image/rollback", "not_activated", 409, {"reason": "why not"}),
    Case("version instead of digest", "/v1/image/activate", "digest_required", 400, {"digest": "v2"}),
    Case("no digest", "/v1/image/activate", "digest_required", 400),
    Case("unknown member", "/v1/image/activate", "bad_request", 400, {"digest": "V2", "force": True}),
    Case("plain http", "/v1/image/stage", "bad_request", 400, {"digest": "V2", "source": "http://images.test"}),
    Case("fence as text", "/v1/image/activate", "bad_request", 400, {"digest": "V2", "fence": "7"}),
    Case("unknown power action", "/v1/power", "bad_request", 400, {"action": "halt", "remainingPods": []}),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_refused(case: Case, client: BareClient, v1: FakeImage, v2: FakeImage) -> None:
    digests = {"V1": v1.digest, "V2": v2.digest}
    members = {name: digests.get(str(value), value) for name, value in case.members.items()}
    assert client.post("/v1/image/rollback", reason="raises the fence to 1").status == 409
    reply = client.post(case.path, **members)
    assert (reply.status, reply.code, reply.type) == (case.status, case.code, "application/problem+json")
    assert client.get("/v1/slots").body["oneShot"] is None


def test_not_json(client: BareClient) -> None:
    assert client.raw("POST", "/v1/image/stage", b"{", key="12345678").code == "bad_request"


def test_body_too_large(client: BareClient) -> None:
    assert client.raw("POST", "/v1/image/stage", b" " * 100_000, key="12345678").code == "bad_request"


def test_key_missing(client: BareClient, v2: FakeImage) -> None:
    assert client.post("/v1/image/activate", digest=v2.digest, key="short").code == "bad_request"


def test_unknown_path(client: BareClient) -> None:
    assert (client.get("/v1/shell").status, client.get("/v1/shell").code) == (404, "not_found")
    assert client.get("/v1/operations/none").code == "not_found"


@pytest.mark.parametrize(
    "path", ["/v1/image/stage", "/v1/image/activate", "/v1/image/commit", "/v1/power", "/v1/fence"]
)
def test_observer_changes_nothing(observer: BareClient, v2: FakeImage, path: str) -> None:
    reply = observer.post(path, digest=v2.digest, source=V2_SOURCE)
    assert (reply.status, reply.code) == (403, "forbidden")
    assert observer.get("/v1/status").body["fence"] == 0


def test_unknown_role(machine: SimulatedMachine, trust: Trust, tmp_path: Path) -> None:
    stranger = BareClient(machine, trust, tmp_path, role="nobody")
    assert stranger.get("/v1/status").status == 403
    stranger.close()


def test_fence_outlives_a_reboot(client: BareClient, machine: SimulatedMachine, v2: FakeImage) -> None:
    assert client.raw("POST", "/v1/fence", b'{"fence": 7}').body["fence"] == 7
    machine.power_cut()
    client.fence = 6
    reply = client.post("/v1/image/stage", digest=v2.digest, source=V2_SOURCE)
    assert (reply.code, reply.body["fence"]) == ("stale_fence", 7)
    assert client.raw("POST", "/v1/fence", b'{"fence": 6}').code == "stale_fence"
    client.fence = 7
    assert client.stage(v2.digest, V2_SOURCE)["state"] == "succeeded"


def test_a_refused_call_raises_the_fence(client: BareClient) -> None:
    client.fence = 9
    assert client.post("/v1/image/rollback", reason="nothing to take back").code == "not_activated"
    assert client.get("/v1/status").body["fence"] == 9


def test_drain_proof(client: BareClient, machine: SimulatedMachine) -> None:
    machine.pods = [Pod("default", "web-1", "uid-1"), Pod("kube-system", "proxy", "uid-2")]
    refused = client.post("/v1/power", action="reboot", remainingPods=["uid-2"])
    assert refused.code == "drain_proof_required"
    assert [pod["uid"] for pod in refused.body["pods"]] == ["uid-1"]
    assert client.post("/v1/power", action="reboot", remainingPods=["uid-1", "uid-2"]).status == 202
    machine.wait_boot(2)


def test_retry_is_answered_as_before(client: BareClient, machine: SimulatedMachine) -> None:
    boot_id = machine.platform.boot_id()
    body = {"action": "reboot", "remainingPods": [], "bootId": boot_id}
    first = client.post("/v1/power", key="retry-0001", **body)
    machine.wait_boot(2)
    again = client.post("/v1/power", key="retry-0001", **body)
    assert (again.status, again.body) == (first.status, first.body)
    assert client.get(f"/v1/operations/{first.body['id']}").body["state"] == "succeeded"
    assert machine.boots == 2
    other = client.post("/v1/image/rollback", key="retry-0001", reason="another request")
    assert other.code == "idempotency_conflict"


def test_reboot_that_does_not_begin(
    client: BareClient, machine: SimulatedMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reboot() -> None:
        raise PlatformFailed("systemctl reboot", "no such program")

    monkeypatch.setattr(machine.platform, "reboot", reboot)
    started = client.post("/v1/power", action="reboot", remainingPods=[])
    assert client.wait(started.body["id"])["problem"]["code"] == "internal"
    assert client.post("/v1/power", action="reboot", remainingPods=[]).status == 202


def test_one_operation_at_a_time(client: BareClient, machine: SimulatedMachine, v2: FakeImage, v3: FakeImage) -> None:
    machine.faults.stage_delay = 0.1
    started = client.post("/v1/image/stage", digest=v2.digest, source=V2_SOURCE)
    refused = client.post("/v1/image/stage", digest=v3.digest, source=V3_SOURCE)
    assert (refused.code, refused.body["operation"]) == ("operation_in_progress", started.body["id"])
    assert client.post("/v1/power", action="reboot", remainingPods=[]).code == "operation_in_progress"
    machine.faults.stage_delay = 0
    assert client.wait(started.body["id"])["state"] == "succeeded"


def test_power_whose_record_cannot_be_written_never_reboots(
    client: BareClient,
    machine: SimulatedMachine,
    v2: FakeImage,
    monkeypatch: pytest.MonkeyPatch,
    full_disk: Callable[[Callable[[Memory], bool]], list[Memory]],
) -> None:
    refused = full_disk(lambda memory: memory.running_operation is not None)
    assert client.post("/v1/power", action="reboot", remainingPods=[]).code == "internal"
    assert len(refused) == 1
    monkeypatch.undo()
    assert client.stage(v2.digest, V2_SOURCE)["state"] == "succeeded"
    assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate())
    assert machine.boots == 1


def test_a_spoiled_memory_is_shown_and_not_changed(
    client: BareClient, machine: SimulatedMachine, v1: FakeImage, v2: FakeImage
) -> None:
    (machine.platform.data / "agent" / "state.json").write_text("spoiled")
    machine.power_cut()
    status = client.get("/v1/status").body
    assert (status["digest"], status["fence"]) == (v1.digest, 0)
    refused = client.post("/v1/image/stage", digest=v2.digest, source=V2_SOURCE)
    assert refused.code == "internal"
    assert "spoiled" in refused.body["detail"]
