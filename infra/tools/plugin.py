"""Pulumi's Kubernetes plugin, for hosts that cannot download it.

The folder named by SEALWAVE_PULUMI_PLUGINS may hold it packed; unpacked once, it is kept by the SHA-256 of what was
packed, and found by Pulumi on PATH. Without it Pulumi downloads the plugin by itself.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import tempfile
from pathlib import Path

from sealwave.infra.settings import Settings
from sealwave.infra.tools.errors import PluginSpoiled
from sealwave.signing.files import sync_folder

__all__ = ["PACKED", "PLUGIN", "ensure_plugin"]

PLUGIN = "pulumi-resource-kubernetes"
PACKED = f"{PLUGIN}-v4.32.0-linux-amd64.xz"


def ensure_plugin(settings: Settings) -> Path | None:
    """The folder that holds the unpacked plugin, or None when there is none to unpack.

    Raises PluginSpoiled when the packed file cannot be unpacked, OSError when the cache cannot be written.
    """
    if settings.plugins is None:
        return None
    packed = settings.plugins / PACKED
    if not packed.is_file():
        return None
    with packed.open("rb") as stream:
        key = hashlib.file_digest(stream, "sha256").hexdigest()[:32]
    folder = settings.tools / key / "bin"
    if not (folder / PLUGIN).exists():
        _unpack(packed, folder / PLUGIN)
    return folder


def _unpack(packed: Path, plugin: Path) -> None:
    plugin.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=plugin.parent, prefix=f".{plugin.name}.")
    try:
        with os.fdopen(descriptor, "wb") as output, lzma.open(packed) as source:
            shutil.copyfileobj(source, output, 1 << 20)
            output.flush()
            os.fchmod(output.fileno(), 0o755)
            os.fsync(output.fileno())
        Path(name).replace(plugin)
    except (lzma.LZMAError, EOFError) as error:
        raise PluginSpoiled(packed, str(error)) from error
    finally:
        Path(name).unlink(missing_ok=True)
    sync_folder(plugin.parent)
