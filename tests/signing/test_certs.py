"""Certificates: OpenSSL accepts what is meant, refuses the rest; requests that ask for too much are refused."""

from __future__ import annotations

import base64
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from sealwave.signing import certs, tls
from sealwave.signing.errors import CertificateUnusable, RequestRefused
from sealwave.signing.keys import LabKeys


class Wire:
    """Server and client joined in memory: no socket, no thread."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(to_server, to_client, server_side=True)
        self.client = client.wrap_bio(to_client, to_server, server_hostname=name)

    def handshake(self) -> None:
        pending = [self.client, self.server]
        for _ in range(10):
            for side in list(pending):
                try:
                    side.do_handshake()
                    pending.remove(side)
                except ssl.SSLWantReadError:
                    continue
        assert not pending


def _pair(folder: Path, issued: certs.Issued) -> tuple[Path, Path]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(issued.certificate)
    key.write_bytes(issued.key)
    return certificate, key


def _folder(base: Path, name: str) -> Path:
    (base / name).mkdir()
    return base / name


def test_mutual_tls_with_name_and_roles(tmp_path: Path, now: datetime) -> None:
    authority = certs.make_authority("machines", now=now)
    request = certs.make_request("node-1")
    machine = certs.Issued(
        certs.sign_machine_request(authority, request.certificate, machine="node-1", now=now), request.key
    )
    driver = certs.issue_client(authority, common_name="driver", organizations=["updater"], now=now)
    server = tls.server_context(*_pair(_folder(tmp_path, "s"), machine), client_authority=authority.pem)
    certificate, key = _pair(_folder(tmp_path, "c"), driver)
    client = tls.client_context(authority.pem, certificate=certificate, key=key)
    wire = Wire(server, client, "node-1")
    wire.handshake()
    assert wire.client.version() == "TLSv1.3"
    peer = wire.server.getpeercert()
    assert peer is not None
    assert tls.peer_identity(peer) == ("driver", frozenset({"updater"}))


def _other_name(authority: certs.Authority, other: certs.Authority, now: datetime) -> tuple[certs.Issued, bytes]:
    return certs.issue_server(authority, common_name="a", dns=["node-2"], now=now), authority.pem


def _other_authority(authority: certs.Authority, other: certs.Authority, now: datetime) -> tuple[certs.Issued, bytes]:
    return certs.issue_server(other, common_name="a", dns=["node-1"], now=now), authority.pem


def _expired(authority: certs.Authority, other: certs.Authority, now: datetime) -> tuple[certs.Issued, bytes]:
    then = now - timedelta(days=9)
    return certs.issue_server(authority, common_name="a", dns=["node-1"], now=then, days=8), authority.pem


def _client_as_server(authority: certs.Authority, other: certs.Authority, now: datetime) -> tuple[certs.Issued, bytes]:
    return certs.issue_client(authority, common_name="node-1", now=now), authority.pem


@pytest.mark.parametrize("wrong", [_other_name, _other_authority, _expired, _client_as_server])
def test_a_client_refuses_a_server_that_is_not_the_one_wanted(tmp_path: Path, now: datetime, wrong: object) -> None:
    assert callable(wrong)
    issued, trusted = wrong(certs.make_authority("a", now=now), certs.make_authority("a", now=now), now)
    server = tls.server_context(*_pair(tmp_path, issued), client_authority=None)
    with pytest.raises(ssl.SSLCertVerificationError):
        Wire(server, tls.client_context(trusted), "node-1").handshake()


def test_a_server_refuses_a_client_without_certificate_and_one_with_a_server_certificate(
    tmp_path: Path, now: datetime
) -> None:
    authority = certs.make_authority("machines", now=now)
    pair = _pair(tmp_path, certs.issue_server(authority, common_name="a", dns=["node-1"], now=now))
    server = tls.server_context(*pair, client_authority=authority.pem)
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        Wire(server, tls.client_context(authority.pem), "node-1").handshake()
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        Wire(server, tls.client_context(authority.pem, certificate=pair[0], key=pair[1]), "node-1").handshake()


def test_strict_chain_checks_of_newer_pythons_accept_our_certificates(tmp_path: Path, now: datetime) -> None:
    authority = certs.make_authority("machines", now=now)
    issued = certs.issue_server(authority, common_name="a", dns=["node-1"], ips=["127.0.0.1"], now=now)
    client = tls.client_context(authority.pem)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    Wire(tls.server_context(*_pair(tmp_path, issued), client_authority=None), client, "127.0.0.1").handshake()


def test_files_that_do_not_fit_are_named(tmp_path: Path, now: datetime) -> None:
    authority, other = certs.make_authority("a", now=now), certs.make_authority("b", now=now)
    issued = certs.issue_client(authority, common_name="x", now=now)
    mixed = certs.Issued(issued.certificate, other.key_pem)
    with pytest.raises(CertificateUnusable, match="issue certificate and key again"):
        tls.server_context(*_pair(tmp_path, mixed), client_authority=None)
    with pytest.raises(CertificateUnusable, match="not PEM"):
        tls.client_context(b"\xff")
    with pytest.raises(CertificateUnusable, match="do not belong together"):
        certs.load_authority(authority.pem, other.key_pem)
    with pytest.raises(CertificateUnusable, match="not PEM"):
        certs.load_authority(b"", b"")
    with pytest.raises(CertificateUnusable, match="has no name"):
        certs.issue_server(authority, common_name="x", now=now)
    with pytest.raises(CertificateUnusable, match="not exactly one name"):
        tls.peer_identity({"subject": ((("organizationName", "updater"),),)})
    assert certs.load_authority(authority.pem, authority.key_pem).certificate == authority.certificate


def _request(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, subject: str, *more: x509.ExtensionType) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    for extension in more:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


_P256 = ec.generate_private_key(ec.SECP256R1())
_NODE_1 = x509.SubjectAlternativeName([x509.DNSName("node-1")])
_TWO_NAMES = x509.SubjectAlternativeName([x509.DNSName("node-1"), x509.DNSName("api")])
_OF_A_CA = x509.BasicConstraints(ca=True, path_length=None)

REFUSED = {
    "another machine": (certs.make_request("node-2").certificate, "names another subject"),
    "another curve": (_request(ec.generate_private_key(ec.SECP384R1()), "node-1", _NODE_1), "not ECDSA P-256"),
    "no alternative name": (_request(_P256, "node-1"), "other names or extensions"),
    "a second name": (_request(_P256, "node-1", _TWO_NAMES), "other names or extensions"),
    "to be an authority": (_request(_P256, "node-1", _NODE_1, _OF_A_CA), "other names or extensions"),
    "not a request": (b"hello", "not a PKCS #10 request"),
    "too large": (b"x" * 20_000, "more than 16384"),
}


@pytest.mark.parametrize(("request_pem", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_request_that_does_not_fit_the_policy_is_refused(now: datetime, request_pem: bytes, reason: str) -> None:
    authority = certs.make_authority("machines", now=now)
    with pytest.raises(RequestRefused, match=reason):
        certs.sign_machine_request(authority, request_pem, machine="node-1", now=now)


def test_an_rsa_request_is_refused(now: datetime, shared_keys: LabKeys) -> None:
    request = _request(shared_keys.database.key, "node-1", _NODE_1)
    with pytest.raises(RequestRefused, match="not ECDSA P-256"):
        certs.sign_machine_request(certs.make_authority("m", now=now), request, machine="node-1", now=now)


def test_a_request_that_its_key_did_not_sign_is_refused(now: datetime) -> None:
    good = x509.load_pem_x509_csr(certs.make_request("node-1").certificate)
    spoiled = bytearray(good.public_bytes(Encoding.DER))
    spoiled[-1] ^= 1
    pem = x509.load_der_x509_csr(bytes(spoiled)).public_bytes(Encoding.PEM)
    with pytest.raises(RequestRefused, match="own signature does not hold"):
        certs.sign_machine_request(certs.make_authority("m", now=now), pem, machine="node-1", now=now)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_spoiled_request_raises_our_error_only(position: int, change: int) -> None:
    der = bytearray(x509.load_pem_x509_csr(_REQUEST).public_bytes(Encoding.DER))
    der[position % len(der)] ^= change
    body = base64.encodebytes(bytes(der)).decode()
    pem = f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n".encode()
    with pytest.raises(RequestRefused):
        certs.sign_machine_request(_AUTHORITY, pem, machine="node-1", now=_THEN)


_THEN = datetime(2026, 1, 1, tzinfo=UTC)
_AUTHORITY = certs.make_authority("machines", now=_THEN)
_REQUEST = certs.make_request("node-1").certificate
