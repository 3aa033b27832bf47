"""Envelopes: what was signed comes back, and nothing else does."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sealwave.signing import dsse
from sealwave.signing.errors import CertificateUnusable, MalformedEnvelope, SigningError, UntrustedSignature
from sealwave.signing.keys import LabKeys, SigningKey

TYPE = "application/vnd.example+json"


def _other() -> SigningKey:
    return SigningKey(Ed25519PrivateKey.generate())


def test_payload_comes_back_byte_by_byte_and_signing_is_deterministic(signing_key: SigningKey) -> None:
    payload = b'{"b": 1,  "a": "\xc3\xa9"}\n'
    envelope = dsse.sign(payload, payload_type=TYPE, signer=signing_key.signer)
    assert dsse.verify(envelope, payload_type=TYPE, keys=[signing_key.public_pem]) == payload
    assert dsse.sign(payload, payload_type=TYPE, signer=signing_key.signer) == envelope


def test_signature_is_over_the_pre_authentication_encoding_of_the_specification(signing_key: SigningKey) -> None:
    envelope = json.loads(dsse.sign(b"hello", payload_type=TYPE, signer=signing_key.signer))
    encoded = b"DSSEv1 %d %s 5 hello" % (len(TYPE), TYPE.encode())
    signing_key.key.public_key().verify(base64.b64decode(envelope["signatures"][0]["sig"]), encoded)


def test_any_trusted_key_will_do(signing_key: SigningKey) -> None:
    envelope = dsse.sign(b"x", payload_type=TYPE, signer=signing_key.signer)
    assert dsse.verify(envelope, payload_type=TYPE, keys=[_other().public_pem, signing_key.public_pem]) == b"x"


def test_one_signature_does_not_reach_a_threshold_of_two(signing_key: SigningKey) -> None:
    envelope = dsse.sign(b"x", payload_type=TYPE, signer=signing_key.signer)
    keys = [signing_key.public_pem, _other().public_pem]
    with pytest.raises(UntrustedSignature, match="no trusted key signed it"):
        dsse.verify(envelope, payload_type=TYPE, keys=keys, threshold=2)


def test_the_same_key_twice_does_not_make_two(signing_key: SigningKey) -> None:
    envelope = dsse.sign(b"x", payload_type=TYPE, signer=signing_key.signer)
    with pytest.raises(UntrustedSignature, match="2 different trusted keys"):
        dsse.verify(envelope, payload_type=TYPE, keys=[signing_key.public_pem] * 2, threshold=2)


def test_other_key_no_key_and_other_type_are_refused(signing_key: SigningKey) -> None:
    envelope = dsse.sign(b"x", payload_type=TYPE, signer=signing_key.signer)
    with pytest.raises(UntrustedSignature):
        dsse.verify(envelope, payload_type=TYPE, keys=[_other().public_pem])
    with pytest.raises(UntrustedSignature):
        dsse.verify(envelope, payload_type=TYPE, keys=[])
    with pytest.raises(MalformedEnvelope, match="it says that it is"):
        dsse.verify(envelope, payload_type="application/other", keys=[signing_key.public_pem])


@pytest.mark.parametrize(
    "change",
    [
        {"payload": base64.b64encode(b"y").decode()},
        {"payloadType": "application/vnd.example+jsoN"},
        {"signatures": []},
    ],
    ids=["payload", "type", "no signature"],
)
def test_a_changed_envelope_is_refused(signing_key: SigningKey, change: dict[str, object]) -> None:
    envelope = json.loads(dsse.sign(b"x", payload_type=TYPE, signer=signing_key.signer)) | change
    with pytest.raises((UntrustedSignature, MalformedEnvelope)):
        dsse.verify(json.dumps(envelope).encode(), payload_type=TYPE, keys=[signing_key.public_pem])


def test_a_type_that_was_changed_back_after_signing_is_refused(signing_key: SigningKey) -> None:
    envelope = json.loads(dsse.sign(b"x", payload_type="application/other", signer=signing_key.signer))
    envelope["payloadType"] = TYPE
    with pytest.raises(UntrustedSignature):
        dsse.verify(json.dumps(envelope).encode(), payload_type=TYPE, keys=[signing_key.public_pem])


MALFORMED = {
    "empty": b"",
    "not json": b"\xff\xfe",
    "a list": b"[]",
    "a number": b"7",
    "no payload": b'{"payloadType":"application/vnd.example+json","signatures":[]}',
    "payload is a number": b'{"payload":1,"payloadType":"application/vnd.example+json","signatures":[]}',
    "bad base64": b'{"payload":"a","payloadType":"application/vnd.example+json","signatures":[]}',
    "signatures is a number": b'{"payload":"","payloadType":"application/vnd.example+json","signatures":3}',
    "signature is a text": b'{"payload":"","payloadType":"application/vnd.example+json","signatures":["x"]}',
    "signature without id": b'{"payload":"","payloadType":"application/vnd.example+json","signatures":[{"sig":""}]}',
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("envelope", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_bytes_are_refused_with_our_error(signing_key: SigningKey, envelope: bytes) -> None:
    with pytest.raises(MalformedEnvelope, match="shape of DSSE"):
        dsse.verify(envelope, payload_type=TYPE, keys=[signing_key.public_pem])


def test_an_oversized_envelope_is_not_parsed(signing_key: SigningKey) -> None:
    with pytest.raises(MalformedEnvelope, match="more than"):
        dsse.verify(b" " * (dsse.ENVELOPE_LIMIT + 1), payload_type=TYPE, keys=[signing_key.public_pem])


@given(st.binary(max_size=200) | st.text(alphabet='{}[]":,payloTdsignture', max_size=200).map(str.encode))
def test_no_bytes_raise_anything_but_our_errors(envelope: bytes) -> None:
    with pytest.raises(SigningError):
        dsse.verify(envelope, payload_type=TYPE, keys=[_FUZZ_KEY.public_pem])


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_no_flipped_bit_gives_other_bytes(position: int, bit: int) -> None:
    spoiled = bytearray(_FUZZ_ENVELOPE)
    spoiled[position % len(spoiled)] ^= 1 << bit
    try:
        payload = dsse.verify(bytes(spoiled), payload_type=TYPE, keys=[_FUZZ_KEY.public_pem])
    except SigningError:
        return
    assert payload == b'{"a":1}'


_FUZZ_KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
_FUZZ_ENVELOPE = dsse.sign(b'{"a":1}', payload_type=TYPE, signer=_FUZZ_KEY.signer)


def test_only_ed25519_keys_are_taken(shared_keys: LabKeys) -> None:
    with pytest.raises(CertificateUnusable, match="not PEM"):
        dsse.verification_key(b"nothing")
    rsa = shared_keys.database.key.public_key()
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    with pytest.raises(CertificateUnusable, match="not ed25519"):
        dsse.verification_key(rsa.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
