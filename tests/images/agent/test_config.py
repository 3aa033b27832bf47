from __future__ import annotations

import json
from typing import Any

import pytest

from sealwave.images.agent.config import BLOB_LIMIT, PAYLOAD_TYPE, read_blob
from sealwave.images.agent.errors import ConfigUnusable
from tests.simulated.images import SigningPair, Trust

PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
SECRET = "a-secret-that-must-not-be-told"


def document(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "apiVersion": "sealwave.dev/v1",
        "kind": "MachineConfig",
        "machine": "node-1",
        "cluster": {"server": "https://10.0.2.2:6443", "ca": PEM, "bootstrapToken": "abcdef.0123456789abcdef"},
        "nodeLabels": {"example.com/pool": "workers"},
        "podCIDR": "10.244.1.0/24",
        "enrolment": {"url": "https://10.0.2.2:9000/v1/enrol", "ca": PEM, "secret": SECRET},
        "machineAPI": {"clientCA": PEM, "port": 9443},
        "images": {"ca": PEM},
        "commitWindowSeconds": 600,
    }
    return {name: value for name, value in {**whole, **changes}.items() if value is not None}


def blob(trust: Trust, content: Any, payload_type: str = PAYLOAD_TYPE) -> bytes:
    return trust.config.sign(json.dumps(content).encode(), payload_type)


def test_good(trust: Trust) -> None:
    config = read_blob(blob(trust, document()) + bytes(5000), key=trust.config.public_pem)
    assert (config.machine, config.port, config.commit_window_seconds) == ("node-1", 9443, 600)
    assert SECRET not in repr(config)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"hostname": "x"}, "additionalProperties"),
    "missing key": ({"images": None}, "required"),
    "wrong type": ({"commitWindowSeconds": "600"}, "commitWindowSeconds"),
    "window too short": ({"commitWindowSeconds": 1}, "commitWindowSeconds"),
    "plain http": (
        {"cluster": {"server": "http://x", "ca": PEM, "bootstrapToken": "abcdef.0123456789abcdef"}},
        "server",
    ),
    "name that is no DNS label": ({"machine": "Node_1"}, "machine"),
    "label with a comma": ({"nodeLabels": {"a": "b,c=d"}}, "nodeLabels"),
    "network with host bits": ({"podCIDR": "10.0.0.1/24"}, "podCIDR"),
    "other version": ({"apiVersion": "sealwave.dev/v2"}, "apiVersion"),
    "short secret": ({"enrolment": {"url": "https://x", "ca": PEM, "secret": "short"}}, "secret"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_payload(name: str, trust: Trust) -> None:
    changes, place = BAD[name]
    with pytest.raises(ConfigUnusable, match=place) as error:
        read_blob(blob(trust, document(**changes)), key=trust.config.public_pem)
    assert "short" not in str(error.value) or name != "short secret"


def test_bad_envelopes(trust: Trust) -> None:
    good, key = blob(trust, document()), trust.config.public_pem
    other_type = blob(trust, document(), "application/vnd.sealwave.image+json")
    flipped = good.replace(b'"payload":"', b'"payload":"B', 1)
    for content, reason in (
        (bytes(4096), "empty"),
        (b"x" * (BLOB_LIMIT + 1), "more than"),
        (b"not json", "signature"),
        (good[:-20], "signature"),
        (flipped, "signature"),
        (other_type, "signature"),
        (blob(trust, [1]), "type"),
    ):
        with pytest.raises(ConfigUnusable, match=reason):
            read_blob(content, key=key)
    with pytest.raises(ConfigUnusable, match="signature"):
        read_blob(good, key=SigningPair.make().public_pem)
    with pytest.raises(ConfigUnusable, match="signature"):
        read_blob(good, key=trust.release.public_pem)
