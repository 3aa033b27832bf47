"""What the environment says: read here, at the edge, and passed on as a value.

`infra/tools/venv.py` reads SEALWAVE_CACHE by itself: it runs before anything is installed.

| variable | meaning | default |
|---|---|---|
| `SEALWAVE_CACHE` | folder of everything that is built once and kept by content | `~/.cache/sealwave` |
| `SEALWAVE_PULUMI_PLUGINS` | folder that may hold packed Pulumi plugins, for hosts that cannot download them | none |
| `SEALWAVE_MIRROR` | address of the Debian archive that `image lock` asks | the mirror of this machine's apt |
| `SEALWAVE_SECURITY_MIRROR` | address of the security archive beside `SEALWAVE_MIRROR` | derived from it |
| `SEALWAVE_DEBUG` | when set, an error that nobody foresaw is shown with its traceback | none |
| `CI` | `true` where a skipped machine test is a failure | `false` |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """The environment's word on folders and on where this runs; addresses are "" where it names none."""

    cache: Path
    plugins: Path | None
    search_path: str
    mirror: str
    security_mirror: str
    debug: bool
    ci: bool

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the variables; relative paths are taken from the current folder."""
        values = os.environ if environment is None else environment
        cache = values.get("SEALWAVE_CACHE") or "~/.cache/sealwave"
        plugins = values.get("SEALWAVE_PULUMI_PLUGINS")
        return cls(
            cache=Path(cache).expanduser().absolute(),
            plugins=Path(plugins).expanduser().absolute() if plugins else None,
            search_path=values.get("PATH", os.defpath),
            mirror=values.get("SEALWAVE_MIRROR", ""),
            security_mirror=values.get("SEALWAVE_SECURITY_MIRROR", ""),
            debug=bool(values.get("SEALWAVE_DEBUG")),
            ci=values.get("CI", "").lower() in ("1", "true"),
        )

    @property
    def tools(self) -> Path:
        """Where the host's tools are kept."""
        return self.cache / "tools"
