"""A cluster, as the driver speaks with it (Protocol; the body follows)."""

from __future__ import annotations

from typing import Protocol


class Cluster(Protocol):
    """One cluster."""
