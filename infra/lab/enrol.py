"""The enrolment service: a machine shows its one-time secret and a request, and gets its certificate.

Rules:
1. A secret is 256 random bits, kept here as its SHA-256 only, and compared in constant time.
2. That a secret is used, and by which key, is on disk before the certificate exists: a crash in between costs the
   machine a retry, never a second certificate for another key.
3. The same secret with the same key again is the retry of a machine that lost the answer (power cut) and is answered;
   with any other key it is refused. The request's own signature proves who holds the key.
4. Nothing in an answer tells an unknown machine from a wrong or used secret.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwave.infra.errors import LabStateSpoiled
from sealwave.signing.certs import Authority, sign_machine_request
from sealwave.signing.errors import RequestRefused
from sealwave.signing.files import PRIVATE_FILE, write_atomic

__all__ = ["Enrolments", "application"]

# Bytes of a request's body; name, secret and a P-256 request are under 2 KiB.
BODY_LIMIT = 16 * 1024
# Seconds in which the body must have come.
BODY_TIME = 10.0


class Enrolments:
    """Who may enrol, and who did; the file is the truth. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def invite(self, machine: str) -> str:
        """A new one-time secret of this machine; an earlier one is worth nothing from now on."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            records = self._read()
            records[machine] = {"secret": _digest(secret.encode()), "usedBy": None}
            self._write(records)
        return secret

    def redeem(self, machine: str, secret: str, key: str) -> bool:
        """Whether this secret admits the key (its SHA-256), now on disk as the only one that it admits."""
        with self._lock:
            records = self._read()
            record = records.get(machine)
            # A comparison is made in any case, so that the time says nothing about which machines are invited.
            expected = record["secret"] if record else _digest(b"")
            right = hmac.compare_digest(expected, _digest(secret.encode()))
            if record is None or not right:
                return False
            if record["usedBy"] is None:
                record["usedBy"] = key
                self._write(records)
            return hmac.compare_digest(record["usedBy"], key)

    def _read(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise LabStateSpoiled(self._path, "is not JSON") from error
        return found

    def _write(self, records: dict[str, Any]) -> None:
        write_atomic(self._path, json.dumps(records, indent=1).encode(), mode=PRIVATE_FILE)


def application(enrolments: Enrolments, authority: Authority) -> web.Application:
    """The service: POST /v1/enrol."""

    async def enrol(request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(BODY_TIME):
                machine, secret, csr = _parts(await request.read())
        except TimeoutError:
            return _problem(408, "request_timeout", "the request did not come in time")
        except ValueError as error:
            return _problem(400, "bad_request", str(error))
        try:
            admitted = await asyncio.to_thread(enrolments.redeem, machine, secret, _key_of(csr))
            if not admitted:
                return _problem(403, "secret_refused", "the secret is unknown or used")
            certificate = sign_machine_request(authority, csr, machine=machine, now=datetime.now(UTC))
        except RequestRefused as error:
            return _problem(400, "bad_request", str(error))
        return web.json_response({"certificate": certificate.decode("ascii")})

    made = web.Application(client_max_size=BODY_LIMIT)
    made.router.add_post("/v1/enrol", enrol)
    return made


def _parts(body: bytes) -> tuple[str, str, bytes]:
    """Machine, secret and request of a body that anybody may have sent; raises ValueError for any other."""
    try:
        document = json.loads(body)
    except RecursionError as error:
        raise ValueError("the body is nested too deeply") from error
    if not isinstance(document, dict):
        raise ValueError("the body is not a JSON object")
    values = [document.get(name) for name in ("machine", "secret", "csr")]
    machine, secret, csr = values
    if not (isinstance(machine, str) and isinstance(secret, str) and isinstance(csr, str)):
        raise ValueError("machine, secret and csr must be strings")
    # JSON can spell half a character, which has no bytes: the encoder's UnicodeEncodeError is a ValueError.
    for text in (machine, secret):
        text.encode()
    return machine, secret, csr.encode()


def _key_of(csr: bytes) -> str:
    # The request is fully checked when it is signed; here it only has to name a key, and to prove that it holds it.
    try:
        request = x509.load_pem_x509_csr(csr)
        if not request.is_signature_valid:
            raise ValueError
        key = request.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Exception as error:  # Parsing untrusted bytes: whatever the library raises means the same.
        raise RequestRefused("a machine", "it is not a signed PKCS #10 request in PEM") from error
    return _digest(key)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _problem(status: int, code: str, detail: str) -> web.Response:
    body = {"type": "about:blank", "title": code.replace("_", " "), "status": status, "code": code, "detail": detail}
    return web.json_response(body, status=status, content_type="application/problem+json")
