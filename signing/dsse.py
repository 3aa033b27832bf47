"""DSSE envelopes (github.com/secure-systems-lab/dsse, protocol and envelope v1.0.0): signed bytes with a named type.

Rules:
1. The payload type is part of what is signed and is always given by the caller: a configuration never passes as a
   release.
2. The payload leaves `verify` only after a trusted key has signed it. Callers use the returned bytes and nothing else
   of the envelope.
3. The key id is ours (SHA-256 of the public key's SubjectPublicKeyInfo): it says which key to try, and proves nothing.
4. Not checked here: whether the payload is fresh, or the one that was wanted. The caller compares digests and numbers.

This module runs on the node too, so it needs `cryptography` and `securesystemslib` (from 1.2 on) only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import FormatError, VerificationError
from securesystemslib.signer import Signer, SSlibKey

from sealwave.signing.errors import CertificateUnusable, MalformedEnvelope, UntrustedSignature

__all__ = ["ENVELOPE_LIMIT", "key_id", "sign", "verification_key", "verify"]

# Bytes. An image manifest of a thousand files has 200 KB: more than this is no envelope of ours, and is not parsed.
ENVELOPE_LIMIT = 4 * 1024 * 1024


def key_id(public: Ed25519PublicKey) -> str:
    """The name of a public key: the SHA-256, in hex, of its SubjectPublicKeyInfo in DER."""
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def verification_key(pem: bytes) -> SSlibKey:
    """The verifying half of a release or configuration key, from its PEM file.

    Raises CertificateUnusable when the bytes are no ed25519 public key: no other kind is accepted for documents.
    """
    try:
        public = load_pem_public_key(pem)
    except ValueError as error:
        raise CertificateUnusable(
            "the public key", "it is not PEM", "give the .pub file that belongs to the signing key"
        ) from error
    if not isinstance(public, Ed25519PublicKey):
        raise CertificateUnusable("the public key", "it is not ed25519", "give the .pub file of an ed25519 key")
    return SSlibKey.from_crypto(public, keyid=key_id(public))


def sign(payload: bytes, *, payload_type: str, signer: Signer) -> bytes:
    """The envelope of `payload` as JSON bytes; equal input and key give equal bytes (ed25519 has no random part)."""
    envelope = Envelope(payload, payload_type, {})
    envelope.sign(signer)
    return json.dumps(envelope.to_dict(), sort_keys=True, separators=(",", ":")).encode()


def verify(envelope: bytes, *, payload_type: str, keys: Sequence[bytes], threshold: int = 1) -> bytes:
    """The payload, once `threshold` of the trusted `keys` (PEM public keys) are seen to have signed it as this type.

    Raises MalformedEnvelope for bytes that are no such envelope, UntrustedSignature when the signatures do not hold.
    """
    parsed = _parse(envelope, payload_type)
    trusted = {key.keyid: key for key in map(verification_key, keys)}
    if not 0 < threshold <= len(trusted):
        raise UntrustedSignature("the envelope", f"{threshold} different trusted keys are needed, {len(trusted)} given")
    try:
        parsed.verify(list(trusted.values()), threshold)
    except VerificationError as error:
        raise UntrustedSignature(f"the envelope of type {payload_type}", "no trusted key signed it") from error
    payload: bytes = parsed.payload
    return payload


def _parse(envelope: bytes, payload_type: str) -> Envelope:
    if len(envelope) > ENVELOPE_LIMIT:
        raise MalformedEnvelope(payload_type, f"it has {len(envelope)} bytes, more than {ENVELOPE_LIMIT}")
    try:
        document: Any = json.loads(envelope)
        parsed = Envelope.from_dict(document)
    # The library walks untrusted JSON: whatever its shape makes it raise means the same to us.
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, FormatError) as error:
        raise MalformedEnvelope(payload_type, "its JSON does not have the shape of DSSE") from error
    if parsed.payload_type != payload_type:
        raise MalformedEnvelope(payload_type, f"it says that it is {str(parsed.payload_type)[:100]!r}")
    return parsed
