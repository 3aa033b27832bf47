"""What can go wrong with keys, certificates and signatures.

    SigningError
    +-- KeyFileError            a key or certificate file is missing, spoiled or open to other users
    +-- UntrustedSignature      no trusted key made this signature over these bytes
    +-- MalformedEnvelope       the bytes are no DSSE envelope of the wanted kind
    +-- RequestRefused          a certificate request does not fit the policy
    +-- CertificateUnusable     a certificate or its key cannot be used for what was asked
    +-- MalformedExecutable     the bytes are no PE executable that can be signed or checked

Facts are in the fields; the message is one sentence for a person.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "CertificateUnusable",
    "KeyFileError",
    "MalformedEnvelope",
    "MalformedExecutable",
    "RequestRefused",
    "SigningError",
    "UntrustedSignature",
]


class SigningError(Exception):
    """Root of every error of this folder."""


class KeyFileError(SigningError):
    """A key or certificate file is missing, spoiled, or readable by others."""

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        self.path = path
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{path} {reason}; {remedy}")


class UntrustedSignature(SigningError):
    """No trusted key made this signature over these bytes, or the bytes were changed after signing."""

    def __init__(self, what: str, reason: str) -> None:
        self.what = what
        self.reason = reason
        super().__init__(f"{what} is not to be trusted: {reason}; get it again from where it was released")


class MalformedEnvelope(SigningError):
    """The bytes are no DSSE envelope of the wanted kind."""

    def __init__(self, wanted: str, reason: str) -> None:
        self.wanted = wanted
        self.reason = reason
        super().__init__(f"not a signed envelope of type {wanted}: {reason}; give the file that the signer wrote")


class RequestRefused(SigningError):
    """A certificate request does not fit the policy that it was checked against."""

    def __init__(self, machine: str, reason: str) -> None:
        self.machine = machine
        self.reason = reason
        super().__init__(
            f"the certificate request of {machine} is refused: {reason}; make a new request on the machine"
        )


class CertificateUnusable(SigningError):
    """A certificate, or the pair of certificate and key, cannot be used for what was asked."""

    def __init__(self, what: str, reason: str, remedy: str) -> None:
        self.what = what
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{what} cannot be used: {reason}; {remedy}")


class MalformedExecutable(SigningError):
    """The bytes are no PE executable that can be signed or checked."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"not a PE executable that can be signed or checked: {reason}; build the file again")
