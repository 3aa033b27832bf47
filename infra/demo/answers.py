"""A call to a machine's API as anybody with a certificate could make it, and the refusal that it must get."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from sealwave.infra.errors import MachineUnreachable, StepFailed
from sealwave.infra.lab.ports import LOOPBACK
from sealwave.signing.tls import client_context

__all__ = ["Answer", "post", "require_refusal"]

# Seconds for an answer.
LIMIT = 20.0


@dataclass(frozen=True)
class Answer:
    """Status and problem code of an answer."""

    status: int
    code: str


def post(path: str, body: Mapping[str, Any], *, machine: str, port: int, credentials: Path, role: str) -> Answer:
    """POST to the machine behind a port of this host, with the certificate of this role."""
    context = client_context(
        (credentials / "machine-ca.pem").read_bytes(),
        certificate=credentials / f"{role}.pem",
        key=credentials / f"{role}.key",
    )
    # The certificate names the machine; the address is only where it is forwarded.
    pool = urllib3.HTTPSConnectionPool(
        LOOPBACK,
        port,
        ssl_context=context,
        server_hostname=machine,
        assert_hostname=machine,
        timeout=LIMIT,
        retries=False,
    )
    headers = {"Content-Type": "application/json", "Idempotency-Key": f"demonstration-{role}"}
    try:
        answer = pool.request("POST", path, body=json.dumps(body).encode(), headers=headers)
        return Answer(answer.status, str(json.loads(answer.data).get("code", "")))
    except (urllib3.exceptions.HTTPError, ValueError, AttributeError) as error:
        raise MachineUnreachable(machine, f"{type(error).__name__}: {error}") from error
    finally:
        pool.close()


def require_refusal(answer: Answer, wanted: Answer, *, what: str) -> None:
    """Raise StepFailed unless exactly this refusal came."""
    if answer != wanted:
        got, want = (f"{one.status} {one.code}".strip() for one in (answer, wanted))
        raise StepFailed(what, f"the machine answered {got} instead of {want}")
