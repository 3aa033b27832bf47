"""Private keys in files, and the lab's own set of them.

Rules:
1. A private key is a PKCS #8 PEM file, 0600, in a folder that is 0700. A key that others could have read is refused:
   it must be made anew, closing the file afterwards would not make it secret again.
2. The private half is written (and flushed) before anything derived from it, so a crash at any point leaves a folder
   that the next run completes with the same keys.
3. A public half without its private key is an error and is never overwritten: images that trust it exist already.

Roles: `release` signs image manifests, `config` signs the machines' configuration, and `PK`, `KEK` and `db` are the
firmware's Secure Boot keys (UEFI specification 2.10, section 32.3).
"""

from __future__ import annotations

import fcntl
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from securesystemslib.signer import CryptoSigner, Signer, SSlibKey

from sealwave.signing.dsse import key_id
from sealwave.signing.errors import KeyFileError
from sealwave.signing.files import PRIVATE_FILE, make_private_folder, write_atomic

__all__ = [
    "SECURE_BOOT_OWNER",
    "SECURE_BOOT_ROLES",
    "LabKeys",
    "SecureBootKey",
    "SigningKey",
    "load_secure_boot_key",
    "load_signing_key",
]

SECURE_BOOT_ROLES = ("PK", "KEK", "db")
# SignatureOwner of our entries in the firmware's key databases: any GUID that is always the same.
SECURE_BOOT_OWNER = uuid.UUID("b4b0d6b2-6d8f-4e3b-9e0b-5d1c7b7e5f30")
# Bits. RSA-2048 is the size that every firmware takes; longer keys are left to the vendor's will.
SECURE_BOOT_BITS = 2048
# Firmware ignores expiry, so this only has to outlive a lab.
SECURE_BOOT_DAYS = 3650


@dataclass(frozen=True)
class SigningKey:
    """An ed25519 key that signs documents."""

    key: Ed25519PrivateKey

    @property
    def signer(self) -> Signer:
        """The key behind the interface that a key in hardware has too."""
        public = self.key.public_key()
        return CryptoSigner(self.key, SSlibKey.from_crypto(public, keyid=key_id(public)))

    @property
    def public_pem(self) -> bytes:
        """The verifying half, PEM (SubjectPublicKeyInfo)."""
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True)
class SecureBootKey:
    """A firmware key: RSA with a self-signed certificate."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @property
    def certificate_pem(self) -> bytes:
        """The certificate, PEM."""
        return self.certificate.public_bytes(Encoding.PEM)


@dataclass(frozen=True)
class LabKeys:
    """Every key that the lab signs with; the files lie in `folder`."""

    folder: Path
    release: SigningKey
    config: SigningKey
    platform: SecureBootKey
    exchange: SecureBootKey
    database: SecureBootKey

    @classmethod
    def ensure(cls, folder: Path, *, now: datetime) -> LabKeys:
        """The keys in `folder`; what is missing is made, what is there is kept. Safe to call from several processes.

        Raises KeyFileError when a file is spoiled, open to others, or has lost its private key.
        """
        make_private_folder(folder)
        with _locked(folder):
            release, config = (_ensure_signing_key(folder, role) for role in ("release", "config"))
            platform, exchange, database = (_ensure_secure_boot_key(folder, role, now) for role in SECURE_BOOT_ROLES)
        return cls(folder, release, config, platform, exchange, database)

    def certificate_path(self, role: str) -> Path:
        """The PEM certificate of a Secure Boot role."""
        return self.folder / f"{role}.pem"

    def public_path(self, role: str) -> Path:
        """The PEM public key of `release` or `config`."""
        return self.folder / f"{role}.pub"


def load_signing_key(path: Path) -> SigningKey:
    """The ed25519 key in a PEM file; raises KeyFileError when it is missing, open to others, or another kind."""
    key = _load_private(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(path, "is not an ed25519 key", "give the release or the configuration key")
    return SigningKey(key)


def load_secure_boot_key(key: Path, certificate: Path) -> SecureBootKey:
    """An RSA key and its certificate; raises KeyFileError when one is unusable or they do not belong together."""
    private = _load_private(key)
    if not isinstance(private, rsa.RSAPrivateKey):
        raise KeyFileError(key, "is not an RSA key", "firmware takes RSA only: give an RSA key")
    try:
        parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise KeyFileError(certificate, "is no certificate in PEM", "give the certificate of the key") from error
    if parsed.public_key() != private.public_key():
        raise KeyFileError(certificate, f"is not the certificate of {key}", "give the two that were made together")
    return SecureBootKey(private, parsed)


def _ensure_signing_key(folder: Path, role: str) -> SigningKey:
    private, public = folder / f"{role}.key", folder / f"{role}.pub"
    if not private.exists():
        _refuse_orphan(public, private)
        _write_private(private, Ed25519PrivateKey.generate())
    key = load_signing_key(private)
    # Derived, so a crash before this line loses nothing; rewritten only when absent or wrong.
    if not public.exists() or public.read_bytes() != key.public_pem:
        write_atomic(public, key.public_pem)
    return key


def _ensure_secure_boot_key(folder: Path, role: str, now: datetime) -> SecureBootKey:
    private, certificate = folder / f"{role}.key", folder / f"{role}.pem"
    if not private.exists():
        _refuse_orphan(certificate, private)
        _write_private(private, rsa.generate_private_key(public_exponent=65537, key_size=SECURE_BOOT_BITS))
    if not certificate.exists():
        key = _load_private(private)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise KeyFileError(private, "is not an RSA key", "remove it, and a new one is made")
        write_atomic(certificate, _self_signed(key, role, now).public_bytes(Encoding.PEM))
    return load_secure_boot_key(private, certificate)


def _self_signed(key: rsa.RSAPrivateKey, role: str, now: datetime) -> x509.Certificate:
    # The year is in the name because keys are rotated by it; firmware reads neither usage nor expiry.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"sealwave lab {role}-{now.year}")])
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=SECURE_BOOT_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )


def _load_private(path: Path) -> PrivateKeyTypes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as stream:
            status, content = os.fstat(stream.fileno()), stream.read()
    except OSError as error:
        raise KeyFileError(path, f"cannot be read ({error.strerror})", "give the path of a private key") from error
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise KeyFileError(
            path, "is a private key that other users can read", "make a new key: this one is no longer a secret"
        )
    try:
        return load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(
            path, "is no private key in PEM", "bring it back from a backup, or remove it for a new one"
        ) from error


def _write_private(path: Path, key: PrivateKeyTypes) -> None:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_atomic(path, pem, mode=PRIVATE_FILE)


def _refuse_orphan(public: Path, private: Path) -> None:
    if public.exists():
        raise KeyFileError(
            private,
            f"is missing while {public.name} is there",
            f"bring the key back, or remove {public.name} and build every image anew",
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two first runs do not each make their own keys."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
