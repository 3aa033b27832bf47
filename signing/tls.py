"""TLS contexts: version 1.3, and always verified.

There is no switch that turns verification off. A client checks the server's name; a server that asks for client
certificates requires them.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sealwave.signing.errors import CertificateUnusable

__all__ = ["client_context", "peer_identity", "server_context"]


def server_context(certificate: Path, key: Path, *, client_authority: bytes | None) -> ssl.SSLContext:
    """The context of a server with this certificate (PEM files).

    With `client_authority` (PEM) each client must show a certificate of that authority; None serves everyone.
    Raises CertificateUnusable when the files do not fit together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    _load_pair(context, certificate, key)
    if client_authority is not None:
        _trust(context, client_authority)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(authority: bytes, *, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """The context of a client that trusts this authority (PEM) alone, and shows its own certificate if it has one.

    The server must prove the name given as `server_hostname`; who reaches a machine by an address gives the machine's
    name there (urllib3's pools take it under the same name).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    _trust(context, authority)
    if certificate is not None and key is not None:
        _load_pair(context, certificate, key)
    return context


def peer_identity(peer: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
    """Name (CN) and roles (every O) in a verified client certificate, as `SSLSocket.getpeercert()` gives it.

    Raises CertificateUnusable when it has not exactly one name.
    """
    parts = [(key, value) for group in peer.get("subject", ()) for key, value in group]
    names = [value for key, value in parts if key == "commonName"]
    if len(names) != 1:
        raise CertificateUnusable("the client's certificate", "it has not exactly one name", "issue it again")
    return names[0], frozenset(value for key, value in parts if key == "organizationName")


def _load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise CertificateUnusable(
            f"{certificate} with {key}", str(error), "issue certificate and key again, together"
        ) from error


def _trust(context: ssl.SSLContext, authority: bytes) -> None:
    try:
        context.load_verify_locations(cadata=authority.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise CertificateUnusable("the authority's certificate", "it is not PEM", "give the PEM file") from error
