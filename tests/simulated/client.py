"""A bare client of the machine API for tests of the agent: it sends what it is told and checks nothing but TLS."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import urllib3

from sealwave.signing.files import write_atomic
from sealwave.signing.tls import client_context
from tests.simulated.machine import SimulatedMachine, Trust

_Found = TypeVar("_Found")

# Seconds in which a staging or a boot of a simulated machine has ended.
PATIENCE = 30.0


class Reply:
    """Status, content type and JSON body of an answer."""

    def __init__(self, answer: urllib3.BaseHTTPResponse) -> None:
        self.status = answer.status
        self.type = answer.headers.get("Content-Type", "").split(";")[0]
        self.body: dict[str, Any] = json.loads(answer.data)

    @property
    def code(self) -> str:
        """The problem's code, or "" of a success."""
        return str(self.body.get("code", "")) if self.status >= 400 else ""


class BareClient:
    """One role's connection to one machine."""

    def __init__(self, machine: SimulatedMachine, trust: Trust, folder: Path, *, role: str = "updater") -> None:
        self.machine = machine
        issued = trust.client(role)
        certificate, key = folder / f"{role}.pem", folder / f"{role}.key"
        write_atomic(certificate, issued.certificate)
        write_atomic(key, issued.key, mode=0o600)
        self._pool = urllib3.HTTPSConnectionPool(
            "127.0.0.1",
            machine.port,
            ssl_context=client_context(trust.machine_ca.pem, certificate=certificate, key=key),
            server_hostname=machine.name,
            assert_hostname=machine.name,
            retries=False,
            timeout=PATIENCE,
        )
        self.fence = 1

    def close(self) -> None:
        self._pool.close()

    def get(self, path: str) -> Reply:
        return self.raw("GET", path)

    def raw(self, method: str, path: str, body: bytes | None = None, *, key: str | None = None) -> Reply:
        headers = {"Idempotency-Key": key} if key is not None else {}
        return Reply(self._pool.urlopen(method, path, body=body, headers=headers))

    def post(self, path: str, *, key: str | None = None, **members: Any) -> Reply:
        """A changing call with fence, boot id and a new key, unless `members` or `key` say otherwise."""
        body = {"fence": self.fence, "bootId": self.machine.platform.boot_id(), **members}
        body = {name: value for name, value in body.items() if value is not None}
        return self.raw("POST", path, json.dumps(body).encode(), key=key or secrets.token_hex(8))

    def stage(self, digest: str, source: str) -> dict[str, Any]:
        """Stage to the end; the operation's record."""
        started = self.post("/v1/image/stage", digest=digest, source=source)
        assert started.status == 202, started.body
        return self.wait(started.body["id"])

    def wait(self, operation: str) -> dict[str, Any]:
        """The operation's record once it has ended."""

        def ended() -> dict[str, Any] | None:
            found = self.get(f"/v1/operations/{operation}").body
            return found if found["state"] != "running" else None

        found = until(ended)
        assert found is not None
        return found


def until(ready: Callable[[], _Found], *, timeout: float = PATIENCE) -> _Found:
    """The first true value that `ready` gives."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if value := ready():
            return value
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")
