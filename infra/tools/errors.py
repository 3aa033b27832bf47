"""What can go wrong with the host's tools.

InfraError
+-- ToolBuildFailed     the Go toolchain did not build a tool
+-- PluginSpoiled       a packed Pulumi plugin cannot be unpacked
+-- HostUnusable        the host lacks something that only a person can give it
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sealwave.infra.errors import InfraError

__all__ = ["HostUnusable", "PluginSpoiled", "ToolBuildFailed"]


class ToolBuildFailed(InfraError):
    """The Go toolchain did not build a tool, or built one of another version."""

    def __init__(self, name: str, reason: str, log: Path) -> None:
        self.name = name
        self.reason = reason
        self.log = log
        super().__init__(
            f"{name} could not be built: {reason}; the whole output is in {log}, and the next run goes on from here"
        )


class PluginSpoiled(InfraError):
    """A packed Pulumi plugin cannot be unpacked."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path} cannot be unpacked: {reason}; copy it anew, or unset SEALWAVE_PULUMI_PLUGINS")


class HostUnusable(InfraError):
    """The host lacks something that only a person can give it."""

    def __init__(self, missing: Sequence[str], remedy: str) -> None:
        self.missing = tuple(missing)
        self.remedy = remedy
        super().__init__(f"this host has no {', no '.join(missing)}; {remedy}")
