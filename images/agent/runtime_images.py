"""Container images that come inside the node image, brought into containerd: there need not be a registry."""

from __future__ import annotations

import logging
from pathlib import Path

from sealwave.images.agent import layout
from sealwave.images.agent.linux import run_program

__all__ = ["import_images"]

_log = logging.getLogger(__name__)
# Seconds for one archive on a slow machine.
_IMPORT_TIMEOUT = 300.0


def import_images(folder: Path = layout.IMAGE_ARCHIVES) -> None:
    """Import every archive; containerd takes one that it has already in no time. Raises PlatformFailed."""
    for archive in sorted(folder.glob("*.tar")):
        _log.info("importing %s", archive.name)
        run_program([layout.CTR, "--namespace", "k8s.io", "images", "import", str(archive)], timeout=_IMPORT_TIMEOUT)
