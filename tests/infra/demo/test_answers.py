"""What the demonstration asks of a machine as a stranger, against the agent's own service over TLS."""

from pathlib import Path

import pytest

from sealwave.infra.demo.answers import Answer, post, require_refusal
from sealwave.infra.errors import MachineUnreachable, StepFailed
from sealwave.infra.lab.ports import free_ports
from tests.simulated.machine import SimulatedMachine, Trust, make_image


def test_refusals_are_told_apart(tmp_path: Path) -> None:
    trust = Trust.make()
    image = make_image(tmp_path / "v1", version="1", release=trust.release)
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "machine-ca.pem").write_bytes(trust.machine_ca.pem)
    for role in ("observer", "updater"):
        pair = trust.client(role)
        (credentials / f"{role}.pem").write_bytes(pair.certificate)
        (credentials / f"{role}.key").write_bytes(pair.key)
    with SimulatedMachine("node-1", tmp_path / "node-1", trust=trust, image=image) as machine:
        port = int(machine.url.rpartition(":")[2])

        def ask(path: str, body: dict[str, object], role: str, name: str = "node-1") -> Answer:
            return post(path, body, machine=name, port=port, credentials=credentials, role=role)

        assert ask("/v1/fence", {"fence": 3}, "updater") == Answer(200, "")
        body = {"fence": 0, "bootId": "0" * 8 + "-0000-0000-0000-" + "0" * 12, "digest": image.digest}
        stage = body | {"source": "https://images.test/v1"}
        require_refusal(ask("/v1/image/stage", stage, "observer"), Answer(403, "forbidden"), what="an observer's stage")
        require_refusal(ask("/v1/image/stage", stage, "updater"), Answer(409, "stale_fence"), what="a stale fence")
        with pytest.raises(StepFailed, match="answered 403 forbidden instead of 409 stale_fence"):
            require_refusal(Answer(403, "forbidden"), Answer(409, "stale_fence"), what="a stage")
        with pytest.raises(MachineUnreachable, match="node-2"):
            ask("/v1/fence", {"fence": 3}, "updater", name="node-2")
    (nobody,) = free_ports(1)
    with pytest.raises(MachineUnreachable, match="node-1"):
        post("/v1/fence", {}, machine="node-1", port=nobody, credentials=credentials, role="updater")
