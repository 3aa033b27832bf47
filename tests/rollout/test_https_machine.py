"""The machine client: what it sends fits the machine API's document, what it trusts, and what its errors say."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from sealwave.rollout.access import connect
from sealwave.rollout.errors import CredentialsMissing, MachineRefused, MachineUnreachable
from sealwave.rollout.https_machine import HttpsMachine, HttpsMachines
from sealwave.rollout.machine import Call, CheckResult, MachineStatus, Operation
from sealwave.rollout.model import Json
from sealwave.signing.files import write_atomic
from tests.rollout.world import V2
from tests.simulated.machine import SimulatedMachine, Trust, make_image

DOCUMENT: Json = YAML(typ="safe").load(Path(__file__).parents[2] / "images" / "agent" / "openapi.yaml")
BOOT = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
CALL = Call(fence=3, boot_id=BOOT, key="workers-3-17-Stage")
STATUS: Json = {
    "machine": "node-1",
    "bootId": BOOT,
    "digest": V2,
    "rootHash": "e" * 64,
    "slot": "b",
    "committed": False,
    "activated": None,
    "staged": None,
    "secureBoot": True,
    "fence": 3,
    "kubelet": {"active": True, "detail": "running"},
    "pods": [{"namespace": "default", "name": "web", "uid": "u-1"}],
    "bootReason": "activated",
}
OPERATION: Json = {"id": "op-1", "kind": "stage", "state": "running", "progress": 0.5}


def valid(body: Json, schema: Json) -> None:
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(body)


class Recorded(HttpsMachine):
    """Answers without a network, and holds every request against the document."""

    def __init__(self, status: int, answer: Json) -> None:
        super().__init__("node-1", "https://node-1.example:9443/", ssl.create_default_context(), timeout=1)
        self.answer = (status, answer)
        self.sent: list[str] = []

    def _send(self, method: str, path: str, body: Json | None, headers: dict[str, str]) -> tuple[int, Json]:
        template = "/v1/operations/{id}" if path.startswith("/v1/operations/") else path
        described = DOCUMENT["paths"][template][method.lower()]
        if body is not None:
            valid(body, described["requestBody"]["content"]["application/json"]["schema"])
        assert ("Idempotency-Key" in headers) == any("$ref" in item for item in described.get("parameters", ()))
        good = [code for code in described["responses"] if code.startswith("2")]
        if self.answer[0] < 300:
            valid(self.answer[1], described["responses"][good[0]]["content"]["application/json"]["schema"])
        self.sent.append(f"{method} {template}")
        return self.answer


def test_every_call_fits_the_document() -> None:
    status, operation = Recorded(200, STATUS), Recorded(202, OPERATION)
    assert status.status() == MachineStatus.from_json(STATUS)
    assert status.raise_fence(3).fence == 3
    assert status.activate(CALL, digest=V2).digest == V2
    assert status.commit(CALL, digest=V2).committed is False
    status.rollback(CALL, reason="its gates were not good")
    assert operation.operation("op-1") == Operation.from_json(OPERATION)
    assert operation.stage(CALL, digest=V2, source="https://images.example.com/v2").progress == 0.5
    operation.reboot(CALL, remaining_pods=("u-1",))
    checks = {"passed": False, "checks": [{"name": "gpu", "passed": False, "detail": "missing"}]}
    assert Recorded(200, checks).checks() == CheckResult(passed=False, failures=("gpu: missing",))
    assert Recorded(200, {"passed": True, "checks": []}).checks().passed is False
    assert Recorded(200, {"drift": [{"path": "/etc/x", "detail": "new"}]}).drift() == ("/etc/x: new",)
    known = {f"{method.upper()} {path}" for path, item in DOCUMENT["paths"].items() for method in item}
    unused = {"GET /v1/version", "GET /v1/slots", "GET /v1/drift", "GET /v1/checks"}
    assert {*status.sent, *operation.sent} == known - unused


def test_a_problem_document_is_an_error_with_its_code() -> None:
    problem = {"type": "about:blank", "title": "t", "status": 409, "code": "stale_fence", "detail": "9 was here"}
    valid(problem, {"$ref": "#/components/schemas/Problem"})
    with pytest.raises(MachineRefused, match=r"node-1 refused \(stale_fence\): 9 was here") as caught:
        Recorded(409, {**problem, "fence": 9}).commit(CALL, digest=V2)
    assert (caught.value.code, caught.value.fence, caught.value.status) == ("stale_fence", 9, 409)


@pytest.mark.parametrize("missing", sorted(STATUS))
def test_an_answer_that_lacks_what_the_document_promises_is_no_answer(missing: str) -> None:
    class Incomplete(Recorded):
        def _send(self, *args: Any) -> tuple[int, Json]:
            return 200, {key: value for key, value in STATUS.items() if key != missing}

    with pytest.raises(MachineUnreachable, match=f"not what the machine API promises.*{missing}"):
        Incomplete(200, STATUS).status()


def test_status_of_another_machine_is_refused() -> None:
    with pytest.raises(MachineUnreachable, match="it says that it is 'node-2'"):
        Recorded(200, {**STATUS, "machine": "node-2"}).status()


def test_plain_http_is_refused() -> None:
    plain = HttpsMachine("node-1", "http://127.0.0.1:9", ssl.create_default_context(), timeout=1)
    with pytest.raises(MachineUnreachable, match="No connection adapters"):
        plain.status()


def test_an_operation_whose_problem_is_text_is_no_answer() -> None:
    class Odd(Recorded):
        def _send(self, *args: Any) -> tuple[int, Json]:
            return 200, {**OPERATION, "problem": "text"}

    with pytest.raises(MachineUnreachable, match="not what the machine API promises"):
        Odd(200, OPERATION).operation("op-1")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SimulatedMachine, Path]]:
    """A machine over real TLS, and a folder of credentials for it."""
    folder, trust = tmp_path_factory.mktemp("machine"), Trust.make()
    image = make_image(folder / "v1", version="1", release=trust.release)
    files = {"machine-ca.pem": trust.machine_ca.pem}
    for role in ("observer", "updater"):
        issued = trust.client(role)
        files |= {f"{role}.pem": issued.certificate, f"{role}.key": issued.key}
    for name, content in files.items():
        write_atomic(folder / name, content, mode=0o600)
    with SimulatedMachine("node-1", folder / "node-1", trust=trust, image=image) as running:
        yield running, folder


def machines(folder: Path, role: str = "updater", authority: str = "machine-ca.pem") -> HttpsMachines:
    return HttpsMachines(
        authority=folder / authority, certificate=folder / f"{role}.pem", key=folder / f"{role}.key", timeout=5
    )


def test_the_certificate_proves_the_nodes_name_and_not_the_address(machine: tuple[SimulatedMachine, Path]) -> None:
    running, folder = machine
    assert machines(folder).of("node-1", running.url).status().digest == running.digest
    with pytest.raises(MachineUnreachable, match=r"of node-2 at https://127\.0\.0\.1:.* does not answer .*node-2"):
        machines(folder).of("node-2", running.url).status()


def test_a_machine_of_another_authority_is_not_trusted(machine: tuple[SimulatedMachine, Path], tmp_path: Path) -> None:
    running, folder = machine
    write_atomic(folder / "other.pem", Trust.make().machine_ca.pem)
    with pytest.raises(MachineUnreachable, match=r"(?i)certificate"):
        machines(folder, authority="other.pem").of("node-1", running.url).status()


def test_an_observer_may_look_and_not_change(machine: tuple[SimulatedMachine, Path]) -> None:
    running, folder = machine
    observer = machines(folder, role="observer").of("node-1", running.url)
    assert observer.drift() == ()
    assert observer.checks().passed
    with pytest.raises(MachineRefused) as caught:
        observer.stage(CALL, digest=V2, source="https://images.example.com/v2")
    assert (caught.value.code, caught.value.status) == ("forbidden", 403)


def test_a_stale_fence_and_another_boot_are_refused(machine: tuple[SimulatedMachine, Path]) -> None:
    running, folder = machine
    updater = machines(folder).of("node-1", running.url)
    assert updater.raise_fence(7).fence == 7
    with pytest.raises(MachineRefused, match="stale_fence"):
        updater.raise_fence(6)
    with pytest.raises(MachineRefused, match="boot_id_mismatch"):
        updater.activate(Call(fence=7, boot_id=BOOT, key="another-boot"), digest=V2)


def test_nobody_there_is_one_sentence(machine: tuple[SimulatedMachine, Path]) -> None:
    with pytest.raises(MachineUnreachable, match=r"does not answer \(.*refused.*\): check its power and network"):
        machines(machine[1]).of("node-1", "https://127.0.0.1:1").status()


def test_what_is_missing_in_the_folder_of_credentials_is_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialsMissing, match="is no folder"):
        connect(tmp_path / "nothing")
    with pytest.raises(CredentialsMissing, match="kubeconfig is no file"):
        connect(tmp_path)
    with pytest.raises(CredentialsMissing, match=r"machine-ca\.pem is no file"):
        machines(tmp_path)
    for name in ("machine-ca.pem", "updater.pem", "updater.key"):
        (tmp_path / name).write_text("nonsense")
    with pytest.raises(CredentialsMissing, match="cannot be used"):
        machines(tmp_path)
