"""The machine's own certificate: made here once, signed by the enrolment server, kept on the data partition.

The steps, each of which may be cut:

1. Make the key and flush it (0600). It never leaves the machine. A cut before this begins again.
2. Send the request with the one-time secret. The server ties the secret to the key in the request, so that the same
   request after a cut gets the same certificate, and another key is refused.
3. Check that the certificate is for this key and this name and from the machine authority; flush it.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import requests
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from urllib3.exceptions import HTTPError

from sealwave.images.agent.config import MachineConfig
from sealwave.images.agent.errors import EnrolmentFailed
from sealwave.signing.certs import make_request
from sealwave.signing.files import PRIVATE_FILE, make_private_folder, write_atomic

__all__ = ["RENEW_BEFORE", "Identity", "enrol", "is_usable", "renewal_due"]

_log = logging.getLogger(__name__)

# Before its end, so that a server which does not answer has a month to come back.
RENEW_BEFORE = timedelta(days=30)
# The least time between two attempts to renew.
_ASK_AGAIN = timedelta(days=1)
# Seconds to connect, and without a byte.
_TIMEOUTS = (10.0, 30.0)
# Bytes; a certificate has about 1 KiB.
_ANSWER_LIMIT = 64 * 1024


@dataclass(frozen=True)
class Identity:
    """Where key, request and certificate of the machine lie."""

    key: Path
    request: Path
    certificate: Path

    @classmethod
    def under(cls, data: Path) -> Identity:
        """The places under the data partition's folder."""
        folder = data / "identity"
        return cls(folder / "machine.key", folder / "machine.csr", folder / "machine.pem")


def enrol(config: MachineConfig, identity: Identity, *, authority: Path, now: datetime) -> bool:
    """Make sure that the machine has a certificate; True when it was asked for now, False when it was there.

    One that ends soon is renewed, and used on when that fails. `authority` is the PEM file that the enrolment server is
    verified against. Raises EnrolmentFailed when there is none to use.
    """
    if is_usable(config, identity, now=now + RENEW_BEFORE):
        return False
    try:
        _renew(config, identity, authority=authority, now=now)
    except EnrolmentFailed as error:
        # Callers look at its dates themselves, and this machine's clock may be the one that is wrong.
        if not is_usable(config, identity, now=None):
            raise
        _log.error("the certificate that this machine has is used on: %s", error)
        return False
    return True


def _renew(config: MachineConfig, identity: Identity, *, authority: Path, now: datetime) -> None:
    make_private_folder(identity.key.parent)
    if not _belong_together(config.machine, identity):
        made = make_request(config.machine)
        # The request goes first: without its key it is void and is made again, and a key is never without its request.
        write_atomic(identity.request, made.certificate, mode=PRIVATE_FILE)
        write_atomic(identity.key, made.key, mode=PRIVATE_FILE)
    certificate = _ask(config, identity.request.read_text(), authority)
    _check(config, identity, certificate, now=now)
    write_atomic(identity.certificate, certificate, mode=PRIVATE_FILE)


def renewal_due(identity: Identity, *, now: datetime) -> timedelta:
    """The time until the stored certificate should be renewed; raises OSError or ValueError when it cannot be read."""
    certificate = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
    return max(certificate.not_valid_after_utc - RENEW_BEFORE - now, _ASK_AGAIN)


def is_usable(config: MachineConfig, identity: Identity, *, now: datetime | None) -> bool:
    """Whether the stored certificate is for this key, name and authority, and has not ended (None: or it has)."""
    try:
        _check(config, identity, identity.certificate.read_bytes(), now=now)
    except (OSError, EnrolmentFailed):
        return False
    return True


def _belong_together(machine: str, identity: Identity) -> bool:
    try:
        request = x509.load_pem_x509_csr(identity.request.read_bytes())
        key = load_pem_private_key(identity.key.read_bytes(), None)
        names = [part.value for part in request.subject]
        return names == [machine] and isinstance(key, ec.EllipticCurvePrivateKey) and _same(request, key)
    except (OSError, ValueError, TypeError):
        return False


def _same(owner: x509.CertificateSigningRequest | x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bool:
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return owner.public_key().public_bytes(*form) == key.public_key().public_bytes(*form)


def _ask(config: MachineConfig, request: str, authority: Path) -> bytes:
    body = {"machine": config.machine, "secret": config.enrolment_secret, "csr": request}
    with requests.Session() as session:
        session.trust_env = False
        try:
            # Read in one bounded piece: the server is verified, and still need not be able to fill the memory.
            with session.post(
                config.enrolment_url,
                json=body,
                verify=str(authority),
                timeout=_TIMEOUTS,
                allow_redirects=False,
                stream=True,
            ) as answer:
                content = answer.raw.read(_ANSWER_LIMIT, decode_content=True)
        # urllib3's own errors come out of `raw`, which `requests` does not translate.
        except (requests.RequestException, HTTPError, OSError) as error:
            raise EnrolmentFailed(config.enrolment_url, f"it cannot be reached ({error})", final=False) from error
    if answer.status_code == 403:
        raise EnrolmentFailed(config.enrolment_url, "the one-time secret is unknown or was used", final=True)
    if answer.status_code != 200:
        raise EnrolmentFailed(config.enrolment_url, f"it answered {answer.status_code}", final=False)
    try:
        certificate = json.loads(content)["certificate"]
        return str(certificate).encode("ascii")
    except (ValueError, KeyError, TypeError) as error:
        raise EnrolmentFailed(config.enrolment_url, "its answer holds no certificate", final=False) from error


def _check(config: MachineConfig, identity: Identity, pem: bytes, *, now: datetime | None) -> None:
    """Raises EnrolmentFailed when the certificate would not be accepted by those who call this machine."""
    url = config.enrolment_url
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = load_pem_private_key(identity.key.read_bytes(), None)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(config.client_ca.encode()))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound, OSError) as error:
        raise EnrolmentFailed(url, "the certificate is not one of the machine authority", final=False) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not _same(certificate, key):
        raise EnrolmentFailed(url, "the certificate is for another key", final=False)
    if names.get_values_for_type(x509.DNSName) != [config.machine]:
        raise EnrolmentFailed(url, f"the certificate is not for {config.machine}", final=False)
    if now is not None and certificate.not_valid_after_utc <= now:
        raise EnrolmentFailed(url, "the certificate has ended", final=False)
