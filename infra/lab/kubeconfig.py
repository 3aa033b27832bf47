"""Kubeconfig files: who calls which API server, trusting which authority. JSON, which every YAML reader takes."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from sealwave.signing.files import PRIVATE_FILE, write_atomic

__all__ = ["write_kubeconfig"]


def write_kubeconfig(path: Path, *, server: str, authority: bytes, certificate: bytes, key: bytes, user: str) -> None:
    """Write a kubeconfig (0600) with everything inside it, so that it works from any folder."""

    def encoded(content: bytes) -> str:
        return base64.b64encode(content).decode("ascii")

    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "lab", "cluster": {"server": server, "certificate-authority-data": encoded(authority)}},
        ],
        "users": [
            {
                "name": user,
                "user": {"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)},
            },
        ],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
        "current-context": "lab",
    }
    write_atomic(path, json.dumps(document, indent=1).encode(), mode=PRIVATE_FILE)
