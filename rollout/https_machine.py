"""The machine API over HTTPS: TLS 1.3 both ways, checked against the machines' authority and the node's *name*.

The address may be anything (a forwarded port, an IP): the certificate has to name the node. Where the API is described:
``images/agent/openapi.yaml``.

Rules:
1. Every call has a time limit. A call is repeated once when nothing answered: reads are harmless, and a changing call
   carries its Idempotency-Key, so that the machine answers as it did the first time.
2. What comes back is either what the document promises, a problem document, or "does not answer"; nothing is guessed.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import requests
import urllib3
from requests.adapters import HTTPAdapter
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from sealwave.rollout.errors import CredentialsMissing, MachineRefused, MachineUnreachable
from sealwave.rollout.machine import Call, CheckResult, MachineStatus, Operation
from sealwave.rollout.model import Json
from sealwave.signing.errors import SigningError
from sealwave.signing.tls import client_context

_T = TypeVar("_T")

_TRIES = 2
_PAUSE_S = 0.2
# An answer beyond this size is none of the machine API's.
_ANSWER_BYTES = 4 * 1024 * 1024


class _NamedHost(HTTPAdapter):
    """Speaks TLS to whatever address, and asks the certificate for one name."""

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        self._context, self._name = context, name
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(
            *args, **kwargs, ssl_context=self._context, server_hostname=self._name, assert_hostname=self._name
        )

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: bool | str, cert: Any = None
    ) -> tuple[Any, Any]:
        # requests would put its own bundle of authorities into the pool; ours is in the context.
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"cert_reqs": "CERT_REQUIRED"}

    def cert_verify(self, conn: Any, url: str, verify: bool | str, cert: Any) -> None:
        """Leave the connection as the context has it."""


class HttpsMachines:
    """Finds machines by node and address; one TLS context for one role."""

    def __init__(self, *, authority: Path, certificate: Path, key: Path, timeout: float) -> None:
        for path in (authority, certificate, key):
            if not path.is_file():
                raise CredentialsMissing(str(path), "is no file")
        try:
            self._context = client_context(authority.read_bytes(), certificate=certificate, key=key)
        except SigningError as error:
            raise CredentialsMissing(str(certificate), f"cannot be used ({error})") from error
        self._timeout = timeout
        self._known: dict[tuple[str, str], HttpsMachine] = {}
        self._lock = threading.Lock()

    def of(self, node: str, url: str) -> HttpsMachine:
        """The machine named `node`, reached at `url`."""
        with self._lock:
            machine = self._known.get((node, url))
            if machine is None:
                machine = HttpsMachine(node, url, self._context, timeout=self._timeout)
                self._known[(node, url)] = machine
            return machine


class HttpsMachine:
    """One machine. Connections are not shared between threads' calls: each call is short and stands alone."""

    def __init__(self, node: str, url: str, context: ssl.SSLContext, *, timeout: float) -> None:
        self._node, self._url, self._context, self._timeout = node, url.rstrip("/"), context, timeout

    def status(self) -> MachineStatus:
        """What runs now."""
        return self._read("/v1/status", self._own_status)

    def operation(self, operation_id: str) -> Operation:
        """How far a long call came."""
        return self._read(f"/v1/operations/{operation_id}", Operation.from_json)

    def checks(self) -> CheckResult:
        """What the node's own checks say."""
        return self._read("/v1/checks", CheckResult.from_json)

    def drift(self) -> tuple[str, ...]:
        """What differs from the image, one sentence each."""
        return self._read(
            "/v1/drift", lambda body: tuple(f"{item['path']}: {item['detail']}" for item in body["drift"])
        )

    def raise_fence(self, fence: int) -> MachineStatus:
        """Shut out every driver with a lower fence."""
        return self._ask("POST", "/v1/fence", MachineStatus.from_json, body={"fence": fence})

    def stage(self, call: Call, *, digest: str, source: str) -> Operation:
        """Start to fetch and verify an image into the other slot."""
        return self._change("/v1/image/stage", call, Operation.from_json, digest=digest, source=source)

    def activate(self, call: Call, *, digest: str) -> MachineStatus:
        """Boot the staged slot once, at the next reboot."""
        return self._change("/v1/image/activate", call, MachineStatus.from_json, digest=digest)

    def commit(self, call: Call, *, digest: str) -> MachineStatus:
        """Make the running image the default of every later boot."""
        return self._change("/v1/image/commit", call, MachineStatus.from_json, digest=digest)

    def rollback(self, call: Call, *, reason: str) -> None:
        """Take back an activation; reboots when the image already runs and is not committed."""
        self._change("/v1/image/rollback", call, lambda body: None, reason=reason)

    def reboot(self, call: Call, *, remaining_pods: tuple[str, ...]) -> Operation:
        """Reboot; `remaining_pods` are UIDs of pods that may still run."""
        pods = list(remaining_pods)
        return self._change("/v1/power", call, Operation.from_json, action="reboot", remainingPods=pods)

    def _own_status(self, body: Json) -> MachineStatus:
        status = MachineStatus.from_json(body)
        if status.machine != self._node:
            raise ValueError(f"it says that it is {status.machine!r}")
        return status

    def _read(self, path: str, read: Callable[[Json], _T]) -> _T:
        return self._ask("GET", path, read)

    def _change(self, path: str, call: Call, read: Callable[[Json], _T], **body: Any) -> _T:
        body = {"fence": call.fence, "bootId": call.boot_id, **body}
        return self._ask("POST", path, read, body=body, headers={"Idempotency-Key": call.key})

    def _ask(
        self,
        method: str,
        path: str,
        read: Callable[[Json], _T],
        *,
        body: Json | None = None,
        headers: dict[str, str] | None = None,
    ) -> _T:
        for attempt in Retrying(
            retry=retry_if_exception_type(MachineUnreachable),
            stop=stop_after_attempt(_TRIES),
            wait=wait_fixed(_PAUSE_S),
            reraise=True,
        ):
            with attempt:
                status, answer = self._send(method, path, body, headers or {})
                if status >= 400:
                    raise self._problem(status, answer)
                try:
                    return read(answer)
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    why = f"its answer to {path} is not what the machine API promises ({type(error).__name__}: {error})"
                    raise MachineUnreachable(self._node, self._url, why) from error
        raise AssertionError("tenacity re-raises the last error")

    def _send(self, method: str, path: str, body: Json | None, headers: dict[str, str]) -> tuple[int, Json]:
        try:
            with requests.Session() as session:
                # A proxy or a bundle of authorities named in the environment has no say here.
                session.trust_env = False
                # Without this adapter an address without TLS has nobody who would speak to it.
                del session.adapters["http://"]
                session.mount("https://", _NamedHost(self._context, self._node))
                response = session.request(
                    method,
                    self._url + path,
                    json=body,
                    headers=headers,
                    timeout=self._timeout,
                    allow_redirects=False,
                    stream=True,
                )
                content = response.raw.read(_ANSWER_BYTES + 1, decode_content=True)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise MachineUnreachable(self._node, self._url, _brief(error)) from error
        if len(content) > _ANSWER_BYTES:
            raise MachineUnreachable(self._node, self._url, "its answer is too large to be the machine API's")
        try:
            answer = json.loads(content)
        except ValueError as error:
            raise MachineUnreachable(self._node, self._url, "its answer is not JSON") from error
        if not isinstance(answer, dict):
            raise MachineUnreachable(self._node, self._url, "its answer is not an object")
        return response.status_code, answer

    def _problem(self, status: int, body: Json) -> MachineRefused:
        detail = str(body.get("detail") or body.get("title") or f"HTTP {status}")
        fence = body.get("fence")
        return MachineRefused(
            self._node,
            code=str(body.get("code") or "internal"),
            detail=detail,
            status=status,
            fence=fence if isinstance(fence, int) else None,
        )


def _brief(error: BaseException) -> str:
    """The innermost reason, without objects and addresses."""
    inner: object = error
    while isinstance(inner, BaseException):
        following = getattr(inner, "reason", None) or (inner.args[0] if inner.args else None)
        if not isinstance(following, BaseException):
            break
        inner = following
    return str(inner).rsplit(">: ", 1)[-1].rsplit("): ", 1)[-1] or type(error).__name__
