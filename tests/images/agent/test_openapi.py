"""The agent against its own document: every answer that tests can provoke is what openapi.yaml says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from sealwave.images.agent.document import endpoints, load_document
from sealwave.images.agent.errors import Code
from tests.images.agent.conftest import V2_SOURCE
from tests.simulated.client import BareClient, Reply
from tests.simulated.machine import FakeImage, Pod, SimulatedMachine

DOCUMENT = load_document()
CHANGING = ("postFence", "postStage", "postActivate", "postCommit", "postRollback", "postPower")


def resolve(node: Any) -> Any:
    while isinstance(node, dict) and "$ref" in node:
        target: Any = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def check(reply: Reply, method: str, path: str) -> None:
    """The answer's status, content type and body are ones that the document has for this operation."""
    responses = DOCUMENT["paths"][path][method.lower()]["responses"]
    response = resolve(responses.get(str(reply.status), responses["default"]))
    schema = response["content"][reply.type]["schema"]
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(reply.body)


def test_document_is_valid() -> None:
    validate(DOCUMENT)


def test_codes_are_the_documents() -> None:
    listed = DOCUMENT["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
    assert sorted(listed) == sorted(code.code for code in Code)


def test_roles() -> None:
    for endpoint in endpoints(DOCUMENT):
        changing = endpoint.operation in CHANGING
        assert endpoint.roles == ({"updater"} if changing else {"observer", "updater"})
        assert endpoint.needs_key == (changing and endpoint.operation != "postFence")


@pytest.mark.parametrize("path", ["version", "status", "slots", "drift", "checks"])
def test_reads(path: str, observer: BareClient) -> None:
    check(observer.get(f"/v1/{path}"), "GET", f"/v1/{path}")


def test_answers_of_a_swap(client: BareClient, machine: SimulatedMachine, v2: FakeImage) -> None:
    machine.pods = [Pod("default", "web", "uid-1")]
    check(client.raw("POST", "/v1/fence", json.dumps({"fence": 1}).encode()), "POST", "/v1/fence")
    staged = client.post("/v1/image/stage", digest=v2.digest, source=V2_SOURCE)
    check(staged, "POST", "/v1/image/stage")
    client.wait(staged.body["id"])
    check(client.get(f"/v1/operations/{staged.body['id']}"), "GET", "/v1/operations/{id}")
    check(client.get("/v1/slots"), "GET", "/v1/slots")
    check(client.post("/v1/image/activate", digest=v2.digest), "POST", "/v1/image/activate")
    check(client.get("/v1/slots"), "GET", "/v1/slots")
    refused = client.post("/v1/power", action="reboot", remainingPods=[])
    assert refused.code == "drain_proof_required"
    check(refused, "POST", "/v1/power")
    check(client.post("/v1/power", action="reboot", remainingPods=["uid-1"]), "POST", "/v1/power")
    machine.wait_boot(2)
    check(client.get("/v1/status"), "GET", "/v1/status")
    check(client.post("/v1/image/commit", digest=v2.digest), "POST", "/v1/image/commit")
    check(client.post("/v1/image/rollback", reason="none"), "POST", "/v1/image/rollback")


def test_failed_operation(client: BareClient, v2: FakeImage) -> None:
    (v2.folder / "root.erofs").write_bytes(b"")
    failed = client.stage(v2.digest, V2_SOURCE)
    assert failed["state"] == "failed"
    check(client.get(f"/v1/operations/{failed['id']}"), "GET", "/v1/operations/{id}")
