"""X.509 for TLS: authorities, server and client certificates, and the requests of machines.

Rules:
1. Every key is ECDSA P-256: each TLS stack that takes part (OpenSSL, Go) has it.
2. An authority signs end entities only (path length 0). A server certificate is not good for a client, nor the reverse.
3. A machine's request may ask for nothing: the certificate carries the name that the caller knows the machine by, and a
   request that names another machine, or carries a weak key, is refused.
4. The clock is an argument. Nothing here reads or writes a file.

RFC 5280 is the profile: key identifiers are in every certificate, so that OpenSSL's strict mode (Python 3.13's default)
accepts the chain.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from sealwave.signing.errors import CertificateUnusable, RequestRefused

__all__ = [
    "AUTHORITY_DAYS",
    "BACKDATE",
    "LEAF_DAYS",
    "Authority",
    "Issued",
    "issue_client",
    "issue_server",
    "load_authority",
    "make_authority",
    "make_request",
    "sign_machine_request",
]

AUTHORITY_DAYS = 3650
LEAF_DAYS = 365
# A machine whose clock is a little behind must still accept a certificate that was made this minute.
BACKDATE = timedelta(hours=1)
# Bytes; a P-256 request has under 1 KiB.
REQUEST_LIMIT = 16 * 1024
# What `cryptography` raises for a request that it cannot read.
_UNREADABLE = (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion)


@dataclass(frozen=True)
class Authority:
    """A certificate authority with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate, for those who are to trust it."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key, PKCS #8, not encrypted: write it 0600 or not at all."""
        return _key_pem(self.key)


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


def make_authority(common_name: str, *, now: datetime, days: int = AUTHORITY_DAYS) -> Authority:
    """A new self-signed authority that may sign end entities and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _subject(common_name, ())
    certificate = (
        _builder(name, key.public_key(), issuer=name, issuer_key=key.public_key(), now=now, days=days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, SHA256())
    )
    return Authority(certificate, key)


def load_authority(certificate: bytes, key: bytes) -> Authority:
    """The authority that `pem` and `key_pem` were written from; raises CertificateUnusable when they do not match."""
    try:
        parsed, private = x509.load_pem_x509_certificate(certificate), load_pem_private_key(key, None)
    except (*_UNREADABLE, TypeError) as error:
        raise CertificateUnusable("the authority", "its files are not PEM", "make it again") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != parsed.public_key():
        raise CertificateUnusable("the authority", "key and certificate do not belong together", "make it again")
    return Authority(parsed, private)


def issue_server(
    authority: Authority,
    *,
    common_name: str,
    dns: Sequence[str] = (),
    ips: Sequence[str] = (),
    now: datetime,
    days: int = LEAF_DAYS,
    organizations: Sequence[str] = (),
) -> Issued:
    """A certificate with key for a TLS server that is reached by these names and addresses (at least one)."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _leaf(
        authority,
        _subject(common_name, organizations),
        key.public_key(),
        usage=ExtendedKeyUsageOID.SERVER_AUTH,
        names=_names(dns, ips),
        now=now,
        days=days,
    )
    return Issued(certificate, _key_pem(key))


def issue_client(
    authority: Authority, *, common_name: str, organizations: Sequence[str] = (), now: datetime, days: int = LEAF_DAYS
) -> Issued:
    """A certificate with key for a TLS client; the organizations are its roles (Kubernetes calls them groups)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(common_name, organizations)
    usage = ExtendedKeyUsageOID.CLIENT_AUTH
    certificate = _leaf(authority, subject, key.public_key(), usage=usage, names=None, now=now, days=days)
    return Issued(certificate, _key_pem(key))


def make_request(machine: str) -> Issued:
    """A new key of this machine and the request (PEM, in `certificate`) to have it certified."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(_subject(machine, ()))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(machine)]), critical=False)
        .sign(key, SHA256())
    )
    return Issued(request.public_bytes(Encoding.PEM), _key_pem(key))


def sign_machine_request(
    authority: Authority, request: bytes, *, machine: str, now: datetime, days: int = LEAF_DAYS
) -> bytes:
    """The PEM server certificate of `machine` for the key in `request`; raises RequestRefused when policy forbids it.

    The caller has checked who asks (the one-time secret); this checks what is asked.
    """
    return _leaf(
        authority,
        _subject(machine, ()),
        _requested_key(request, machine),
        usage=ExtendedKeyUsageOID.SERVER_AUTH,
        names=_names([machine], []),
        now=now,
        days=days,
    )


def _requested_key(request: bytes, machine: str) -> ec.EllipticCurvePublicKey:
    if len(request) > REQUEST_LIMIT:
        raise RequestRefused(machine, f"it has {len(request)} bytes, more than {REQUEST_LIMIT}")
    try:
        parsed = x509.load_pem_x509_csr(request)
        valid = parsed.is_signature_valid
        key = parsed.public_key()
        names = [str(part.value) for part in parsed.subject]
        alternative = [extension.value for extension in parsed.extensions]
    except _UNREADABLE as error:
        raise RequestRefused(machine, "it is not a PKCS #10 request in PEM") from error
    if not valid:
        raise RequestRefused(machine, "its own signature does not hold")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise RequestRefused(machine, "its key is not ECDSA P-256")
    if names != [machine]:
        raise RequestRefused(machine, "it names another subject")
    if alternative != [x509.SubjectAlternativeName([x509.DNSName(machine)])]:
        raise RequestRefused(machine, "it asks for other names or extensions than the machine's own name")
    return key


def _leaf(
    authority: Authority,
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    usage: ObjectIdentifier,
    names: x509.SubjectAlternativeName | None,
    now: datetime,
    days: int,
) -> bytes:
    builder = _builder(
        subject,
        key,
        issuer=authority.certificate.subject,
        issuer_key=authority.key.public_key(),
        now=now,
        days=days,
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return builder.sign(authority.key, SHA256()).public_bytes(Encoding.PEM)


def _builder(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePublicKey,
    now: datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(common_name: str, organizations: Sequence[str]) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization) for organization in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _names(dns: Sequence[str], ips: Sequence[str]) -> x509.SubjectAlternativeName:
    if not dns and not ips:
        raise CertificateUnusable("a server certificate", "it has no name", "give the names that clients reach it by")
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in ips]
    return x509.SubjectAlternativeName([*(x509.DNSName(name) for name in dns), *addresses])


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
