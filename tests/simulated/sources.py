"""An image folder of this machine in the place of one behind HTTPS."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from sealwave.images.agent.errors import Code, Refused
from tests.simulated.platform import Faults

# Bytes per chunk: small, so that a staging has many instants at which it can be cut.
_CHUNK = 64 * 1024


class FolderSource:
    """Satisfies `Source`."""

    def __init__(self, folder: Path, faults: Faults) -> None:
        self._folder = folder
        self._faults = faults
        self.fetched: dict[str, int] = {}  # Bytes by file.

    def read(self, name: str, *, limit: int) -> bytes:
        content = self._content(name)
        if len(content) > limit:
            raise Refused(Code.SOURCE_UNAVAILABLE, f"{name} has more than {limit} bytes")
        return content

    def stream(self, name: str, *, size: int, start: int = 0) -> Iterator[bytes]:
        content = self._content(name)[start : start + size]
        self.fetched[name] = self.fetched.get(name, 0) + len(content)
        for at in range(0, len(content), _CHUNK):
            time.sleep(self._faults.stage_delay)
            yield content[at : at + _CHUNK]
        if len(content) < size:
            raise Refused(Code.SOURCE_UNAVAILABLE, f"{name} ended after {len(content)} of {size} bytes")

    def close(self) -> None:
        pass

    def _content(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:
            raise Refused(Code.SOURCE_UNAVAILABLE, f"{name} is not served") from error
