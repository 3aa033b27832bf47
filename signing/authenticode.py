"""Authenticode signatures of PE executables: what the firmware checks before it starts a boot loader or kernel.

Written after "Windows Authenticode Portable Executable Signature Format" (Microsoft, version 1.0, 2008) and the PE
format's sections on the optional header and the attribute certificate table; PKCS #7 is RFC 2315.

Rules:
1. Equal input gives equal bytes: RSA PKCS #1 v1.5, no signing time, one signature per file.
2. The file is padded to 8 bytes before it is hashed, because the certificate table that follows must be aligned and all
   bytes before it count.
3. The header's CheckSum lies outside the digest, and UEFI firmware does not read it: it stays as it is.
4. `verify_pe` trusts the given certificates themselves and no chain, as the firmware does with `db` entries.

Only the host signs, so this module may use what the node's older `cryptography` lacks (hazmat.asn1).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from sealwave.signing import _pkcs7 as pkcs7
from sealwave.signing.errors import CertificateUnusable, MalformedExecutable, UntrustedSignature

__all__ = ["pe_digest", "sign_pe", "verify_pe"]

# Offsets in bytes. The PE header's place is at 0x3c of the DOS header; the optional header follows 4 bytes of magic and
# 20 bytes of COFF header; CheckSum and the fifth data directory (certificates) have fixed places in it.
_PE_OFFSET_AT = 0x3C
_OPTIONAL_HEADER = 24
_CHECKSUM = 64
_DIRECTORIES = {0x10B: 96, 0x20B: 112}
_CERTIFICATE_DIRECTORY = 4
# WIN_CERTIFICATE: dwLength, wRevision 2.0, wCertificateType PKCS_SIGNED_DATA.
_WIN_CERTIFICATE = struct.Struct("<IHH")
_REVISION, _PKCS_SIGNED_DATA = 0x0200, 0x0002


@dataclass(frozen=True)
class _Layout:
    """Where the parts lie that the digest leaves out; `table` is (offset, size), (0, 0) in an unsigned file."""

    checksum: int
    directory: int
    table: tuple[int, int]


def pe_digest(pe: bytes) -> bytes:
    """The Authenticode SHA-256 of a PE file, the same before and after signing."""
    layout = _layout(pe)
    end = layout.table[0] or len(pe)
    content = hashlib.sha256(pe[: layout.checksum])
    content.update(pe[layout.checksum + 4 : layout.directory])
    content.update(pe[layout.directory + 8 : end])
    content.update(bytes(-end % 8))
    return content.digest()


def sign_pe(pe: bytes, *, certificate: x509.Certificate, key: RSAPrivateKey) -> bytes:
    """The PE file with its signature attached.

    Raises MalformedExecutable for bytes that are no unsigned PE file, CertificateUnusable when the key is not the
    certificate's.
    """
    if certificate.public_key() != key.public_key():
        raise CertificateUnusable("the certificate", "its key is another one", "give the two that were made together")
    layout = _layout(pe)
    if layout.table != (0, 0):
        raise MalformedExecutable("it carries a signature already")
    attributes, content = pkcs7.content_of(pe_digest(pe))
    signature = key.sign(pkcs7.signed_bytes(attributes), PKCS1v15(), SHA256())
    blob = pkcs7.assemble(content, attributes, certificate, signature)
    padded = bytearray(pe + bytes(-len(pe) % 8))
    entry = _WIN_CERTIFICATE.pack(_WIN_CERTIFICATE.size + len(blob), _REVISION, _PKCS_SIGNED_DATA) + blob
    entry += bytes(-len(entry) % 8)
    struct.pack_into("<II", padded, layout.directory, len(padded), len(entry))
    return bytes(padded) + entry


def verify_pe(pe: bytes, certificates: Sequence[x509.Certificate]) -> x509.Certificate:
    """The one of `certificates` whose key signed this file.

    Raises MalformedExecutable for bytes that are no PE file, UntrustedSignature when the file is unsigned, was changed
    after signing, or was signed by another key.
    """
    signed = _signed_data(pe, _layout(pe))
    pkcs7.check_content(signed, pe_digest(pe))
    for certificate in certificates:
        public = certificate.public_key()
        if not isinstance(public, RSAPublicKey) or not pkcs7.names_signer(signed, certificate):
            continue
        try:
            public.verify(pkcs7.signature_of(signed), pkcs7.signed_bytes_of(signed), PKCS1v15(), SHA256())
        except InvalidSignature as error:
            raise UntrustedSignature("the executable", "its signature does not hold") from error
        return certificate
    raise UntrustedSignature("the executable", "no trusted certificate made its signature")


def _signed_data(pe: bytes, layout: _Layout) -> pkcs7.SignedData:
    offset, size = layout.table
    if size == 0:
        raise UntrustedSignature("the executable", "it is not signed")
    if size < _WIN_CERTIFICATE.size or offset + size != len(pe):
        raise MalformedExecutable("its certificate table does not end the file")
    length, revision, kind = _WIN_CERTIFICATE.unpack_from(pe, offset)
    if (revision, kind) != (_REVISION, _PKCS_SIGNED_DATA) or not 0 <= size - length < 8:
        raise MalformedExecutable("its certificate table does not hold exactly one PKCS #7 signature")
    try:
        return asn1.decode_der(pkcs7.ContentInfo, pe[offset + _WIN_CERTIFICATE.size : offset + length]).content
    except ValueError as error:
        raise MalformedExecutable("its signature is not PKCS #7 in DER") from error


def _layout(pe: bytes) -> _Layout:
    try:
        (start,) = struct.unpack_from("<I", pe, _PE_OFFSET_AT)
        if pe[:2] != b"MZ" or pe[start : start + 4] != b"PE\0\0":
            raise MalformedExecutable("the MZ and PE marks are missing")
        optional = start + _OPTIONAL_HEADER
        (magic,) = struct.unpack_from("<H", pe, optional)
        if magic not in _DIRECTORIES:
            raise MalformedExecutable(f"its optional header has the unknown magic {magic:#x}")
        directories = optional + _DIRECTORIES[magic]
        (count,) = struct.unpack_from("<I", pe, directories - 4)
        directory = directories + 8 * _CERTIFICATE_DIRECTORY
        offset, size = struct.unpack_from("<II", pe, directory)
    except struct.error as error:
        raise MalformedExecutable("it ends within its headers") from error
    if count <= _CERTIFICATE_DIRECTORY:
        raise MalformedExecutable("it has no place for a certificate table")
    if (offset == 0) != (size == 0) or offset + size > len(pe) or 0 < offset < directory + 8:
        raise MalformedExecutable("its certificate table lies outside the file")
    return _Layout(optional + _CHECKSUM, directory, (offset, size))
