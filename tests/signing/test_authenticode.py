"""Executables: what we sign, sbverify accepts, and the reverse; no byte can be changed."""

from __future__ import annotations

import shutil
import struct
import subprocess
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwave.signing import authenticode
from sealwave.signing.errors import CertificateUnusable, MalformedExecutable, SigningError, UntrustedSignature
from sealwave.signing.keys import LabKeys

NEEDS_SBSIGN = pytest.mark.skipif(shutil.which("sbverify") is None, reason="sbsigntool is not installed")


def make_pe(*, plus: bool = True, tail: bytes = b"") -> bytes:
    """A PE file with one section, as small as sbverify takes it."""
    code = b"\xc3".ljust(512, b"\0")
    headers = 0x40 + 24 + (240 if plus else 224) + 40
    pe = bytearray(b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40) + b"PE\0\0")
    machine, size = (0x8664, 240) if plus else (0x14C, 224)
    pe += struct.pack("<HHIIIHH", machine, 1, 0, 0, 0, size, 0x22)
    optional = struct.pack("<HBBIIIII", 0x20B if plus else 0x10B, 0, 0, 512, 0, 0, 0x1000, 0x1000)
    optional += struct.pack("<Q", 0x400000) if plus else struct.pack("<II", 0x1000, 0x400000)
    optional += struct.pack("<IIHHHHHHIIIIHH", 0x1000, 512, 0, 0, 0, 0, 0, 0, 0, 0x2000, 512, 0, 10, 0)
    optional += bytes(32 if plus else 16) + struct.pack("<II", 0, 16) + bytes(128)
    pe += optional
    pe += struct.pack("<8sIIIIIIHHI", b".text", 512, 0x1000, 512, 512, 0, 0, 0, 0, 0x60000020)
    assert len(pe) == headers
    return bytes(pe.ljust(512, b"\0")) + code + tail


@pytest.mark.parametrize("plus", [True, False], ids=["PE32+", "PE32"])
@pytest.mark.parametrize("tail", [b"", b"xyz"], ids=["aligned", "odd size"])
def test_sign_and_verify(shared_keys: LabKeys, plus: bool, tail: bytes) -> None:
    pe, database = make_pe(plus=plus, tail=tail), shared_keys.database
    signed = authenticode.sign_pe(pe, certificate=database.certificate, key=database.key)
    trusted = [shared_keys.platform.certificate, database.certificate]
    assert authenticode.verify_pe(signed, trusted) == database.certificate
    assert authenticode.pe_digest(signed) == authenticode.pe_digest(pe)
    assert authenticode.sign_pe(pe, certificate=database.certificate, key=database.key) == signed
    with pytest.raises(UntrustedSignature, match="no trusted certificate"):
        authenticode.verify_pe(signed, [shared_keys.exchange.certificate])
    with pytest.raises(UntrustedSignature, match="not signed"):
        authenticode.verify_pe(pe, trusted)
    with pytest.raises(MalformedExecutable, match="carries a signature already"):
        authenticode.sign_pe(signed, certificate=database.certificate, key=database.key)


@NEEDS_SBSIGN
@pytest.mark.parametrize("tail", [b"", b"xyz"], ids=["aligned", "odd size"])
def test_sbverify_accepts_ours_and_refuses_a_flipped_byte(tmp_path: Path, shared_keys: LabKeys, tail: bytes) -> None:
    database = shared_keys.database
    signed = authenticode.sign_pe(make_pe(tail=tail), certificate=database.certificate, key=database.key)
    command = ["sbverify", "--cert", str(shared_keys.certificate_path("db")), str(tmp_path / "signed.efi")]
    (tmp_path / "signed.efi").write_bytes(signed)
    good = subprocess.run(command, capture_output=True, text=True)
    assert good.returncode == 0, good.stderr
    spoiled = bytearray(signed)
    spoiled[600] ^= 1
    (tmp_path / "signed.efi").write_bytes(spoiled)
    assert subprocess.run(command, capture_output=True).returncode != 0


@NEEDS_SBSIGN
def test_we_accept_what_sbsign_signed(tmp_path: Path, shared_keys: LabKeys) -> None:
    (tmp_path / "in.efi").write_bytes(make_pe())
    pair = ["--key", str(shared_keys.folder / "db.key"), "--cert", str(shared_keys.certificate_path("db"))]
    output = tmp_path / "out.efi"
    subprocess.run(
        ["sbsign", *pair, "--output", str(output), str(tmp_path / "in.efi")], check=True, capture_output=True
    )
    signer = authenticode.verify_pe(output.read_bytes(), [shared_keys.database.certificate])
    assert signer == shared_keys.database.certificate


def test_every_flipped_byte_is_refused(shared_keys: LabKeys) -> None:
    database = shared_keys.database
    signed = authenticode.sign_pe(make_pe(), certificate=database.certificate, key=database.key)
    accepted = []
    for position in range(len(signed)):
        spoiled = bytearray(signed)
        spoiled[position] ^= 0x01
        try:
            authenticode.verify_pe(bytes(spoiled), [database.certificate])
        except SigningError:
            continue
        accepted.append(position)
    # Neither the checksum, nor the certificates that come along for convenience, nor the padding are signed.
    checksum = 0x40 + 24 + 64
    assert set(range(checksum, checksum + 4)) <= set(accepted)
    assert all(position in range(checksum, checksum + 4) or position >= 1024 for position in accepted)


def test_key_and_certificate_must_match(shared_keys: LabKeys) -> None:
    with pytest.raises(CertificateUnusable, match="its key is another one"):
        authenticode.sign_pe(make_pe(), certificate=shared_keys.platform.certificate, key=shared_keys.database.key)


@given(st.integers(0, 1023), st.binary(min_size=1, max_size=8), st.integers(0, 1024))
def test_spoiled_headers_raise_our_errors_only(position: int, change: bytes, cut: int) -> None:
    pe = bytearray(make_pe())
    pe[position : position + len(change)] = change
    for candidate in (bytes(pe), bytes(pe[:cut])):
        try:
            authenticode.verify_pe(candidate, [])
        except SigningError:
            continue


def test_bytes_that_are_no_executable(shared_keys: LabKeys, now: datetime) -> None:
    for content in (b"", b"MZ", b"MZ" + bytes(100), b"\x7fELF" + bytes(100)):
        with pytest.raises(MalformedExecutable):
            authenticode.pe_digest(content)
