"""The PKCS #7 structures of an Authenticode signature, as DER.

The classes carry the names of RFC 2315 and of the Authenticode specification ("Authenticode-Specific Structures");
`cryptography` encodes and strictly decodes them, so no DER is written by hand.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding

from sealwave.signing.errors import UntrustedSignature

__all__ = [
    "AlgorithmIdentifier",
    "Attribute",
    "ContentInfo",
    "DigestInfo",
    "IssuerAndSerial",
    "SignedContent",
    "SignedData",
    "SignerInfo",
    "SpcAttributeTypeAndValue",
    "SpcIndirectDataContent",
    "SpcPeImageData",
    "assemble",
    "check_content",
    "content_of",
    "names_signer",
    "signature_of",
    "signed_bytes",
    "signed_bytes_of",
]

_SIGNED_DATA = x509.ObjectIdentifier("1.2.840.113549.1.7.2")
_CONTENT_TYPE = x509.ObjectIdentifier("1.2.840.113549.1.9.3")
_MESSAGE_DIGEST = x509.ObjectIdentifier("1.2.840.113549.1.9.4")
_RSA = x509.ObjectIdentifier("1.2.840.113549.1.1.1")
_SHA256 = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")
_SPC_INDIRECT_DATA = x509.ObjectIdentifier("1.3.6.1.4.1.311.2.1.4")
_SPC_PE_IMAGE_DATA = x509.ObjectIdentifier("1.3.6.1.4.1.311.2.1.15")
# SpcPeImageData.file in DER: the specification requires the text "<<<Obsolete>>>" (BMPString) in this nest of tags,
# which has a CHOICE and a string type that the encoder does not offer.
_OBSOLETE_TEXT = "<<<Obsolete>>>".encode("utf-16-be")
_OBSOLETE_FILE = bytes([0xA0, 0x20, 0xA2, 0x1E, 0x80, 0x1C]) + _OBSOLETE_TEXT


@asn1.sequence
class AlgorithmIdentifier:
    """An algorithm without parameters (NULL is written out, as old parsers want it)."""

    algorithm: x509.ObjectIdentifier
    parameters: asn1.Null


@asn1.sequence
class SpcPeImageData:
    """What the digest is of; nothing in it matters any more."""

    flags: asn1.BitString
    file: asn1.TLV


@asn1.sequence
class SpcAttributeTypeAndValue:
    """The kind of file."""

    type: x509.ObjectIdentifier
    value: SpcPeImageData


@asn1.sequence
class DigestInfo:
    """The digest of the file."""

    algorithm: AlgorithmIdentifier
    digest: bytes


@asn1.sequence
class SpcIndirectDataContent:
    """The content that is signed in place of the file."""

    data: SpcAttributeTypeAndValue
    message_digest: DigestInfo


@asn1.sequence
class SignedContent:
    """EncapsulatedContentInfo: the type and the content itself."""

    content_type: x509.ObjectIdentifier
    content: Annotated[SpcIndirectDataContent, asn1.Explicit(0)]


@asn1.sequence
class Attribute:
    """One authenticated attribute."""

    type: x509.ObjectIdentifier
    values: asn1.SetOf[asn1.TLV]


@asn1.sequence
class IssuerAndSerial:
    """The name by which a signature points at its certificate."""

    issuer: asn1.TLV
    serial: int


@asn1.sequence
class SignerInfo:
    """One signature."""

    version: int
    signer: IssuerAndSerial
    digest_algorithm: AlgorithmIdentifier
    attributes: Annotated[asn1.SetOf[Attribute], asn1.Implicit(0)]
    encryption_algorithm: AlgorithmIdentifier
    encrypted_digest: bytes


@asn1.sequence
class SignedData:
    """Content, certificate and signature together; the certificates only come along, so they are not parsed."""

    version: int
    digest_algorithms: asn1.SetOf[AlgorithmIdentifier]
    content: SignedContent
    certificates: Annotated[asn1.SetOf[asn1.TLV], asn1.Implicit(0)]
    signers: asn1.SetOf[SignerInfo]


@asn1.sequence
class ContentInfo:
    """The outermost structure."""

    content_type: x509.ObjectIdentifier
    content: Annotated[SignedData, asn1.Explicit(0)]


@asn1.sequence
class _Attributes:
    """Only to get at the DER of a bare SET OF."""

    inner: asn1.SetOf[Attribute]


def content_of(digest: bytes) -> tuple[list[Attribute], SignedContent]:
    """The authenticated attributes and the content for a file with this Authenticode SHA-256."""
    image = SpcPeImageData(flags=asn1.BitString(b"", 0), file=_tlv(_OBSOLETE_FILE))
    content = SpcIndirectDataContent(
        data=SpcAttributeTypeAndValue(type=_SPC_PE_IMAGE_DATA, value=image),
        message_digest=DigestInfo(algorithm=_sha256(), digest=digest),
    )
    attributes = [
        Attribute(type=_CONTENT_TYPE, values=asn1.SetOf([_tlv(asn1.encode_der(_SPC_INDIRECT_DATA))])),
        Attribute(type=_MESSAGE_DIGEST, values=asn1.SetOf([_tlv(asn1.encode_der(_content_digest(content)))])),
    ]
    return attributes, SignedContent(content_type=_SPC_INDIRECT_DATA, content=content)


def assemble(
    content: SignedContent, attributes: list[Attribute], certificate: x509.Certificate, signature: bytes
) -> bytes:
    """The whole structure in DER."""
    signer = SignerInfo(
        version=1,
        signer=IssuerAndSerial(issuer=_tlv(certificate.issuer.public_bytes()), serial=certificate.serial_number),
        digest_algorithm=_sha256(),
        attributes=asn1.SetOf(attributes),
        encryption_algorithm=AlgorithmIdentifier(algorithm=_RSA, parameters=asn1.Null()),
        encrypted_digest=signature,
    )
    signed = SignedData(
        version=1,
        digest_algorithms=asn1.SetOf([_sha256()]),
        content=content,
        certificates=asn1.SetOf([_tlv(certificate.public_bytes(Encoding.DER))]),
        signers=asn1.SetOf([signer]),
    )
    return asn1.encode_der(ContentInfo(content_type=_SIGNED_DATA, content=signed))


def signed_bytes(attributes: list[Attribute]) -> bytes:
    """What the key signs: the attributes as a SET OF with its universal tag (RFC 2315, section 9.3)."""
    return _body(asn1.encode_der(_Attributes(inner=asn1.SetOf(attributes))))


def check_content(signed: SignedData, digest: bytes) -> None:
    """Raise UntrustedSignature when attributes or content speak of another file than the one with this digest."""
    content = signed.content.content
    if content.message_digest.algorithm.algorithm != _SHA256 or content.message_digest.digest != digest:
        raise UntrustedSignature("the executable", "it was changed after it was signed")
    found = {
        attribute.type: [bytes(asn1.encode_der(value)) for value in attribute.values.as_list()]
        for attribute in _signer(signed).attributes.as_list()
    }
    wanted_type, wanted_digest = asn1.encode_der(_SPC_INDIRECT_DATA), asn1.encode_der(_content_digest(content))
    if found.get(_CONTENT_TYPE) != [wanted_type] or found.get(_MESSAGE_DIGEST) != [wanted_digest]:
        raise UntrustedSignature("the executable", "its signature is of other content")


def names_signer(signed: SignedData, certificate: x509.Certificate) -> bool:
    """Whether the signature points at this certificate."""
    signer = _signer(signed).signer
    issuer = bytes(asn1.encode_der(signer.issuer))
    return issuer == certificate.issuer.public_bytes() and signer.serial == certificate.serial_number


def signature_of(signed: SignedData) -> bytes:
    """The RSA signature."""
    return _signer(signed).encrypted_digest


def signed_bytes_of(signed: SignedData) -> bytes:
    """What the signature must be of."""
    return signed_bytes(_signer(signed).attributes.as_list())


def _signer(signed: SignedData) -> SignerInfo:
    signers = signed.signers.as_list()
    if len(signers) != 1:
        raise UntrustedSignature("the executable", f"it has {len(signers)} signatures in place of one")
    return signers[0]


def _content_digest(content: SpcIndirectDataContent) -> bytes:
    # RFC 2315, section 9.3: the digest is of the content's octets without its own tag and length.
    return hashlib.sha256(_body(asn1.encode_der(content))).digest()


def _body(der: bytes) -> bytes:
    return bytes(asn1.decode_der(asn1.TLV, der).data)


def _tlv(der: bytes) -> asn1.TLV:
    return asn1.decode_der(asn1.TLV, der)


def _sha256() -> AlgorithmIdentifier:
    return AlgorithmIdentifier(algorithm=_SHA256, parameters=asn1.Null())
