"""Files of an image folder over HTTPS: verified server, size limits, time limits, and resuming a cut stream.

What arrives is not trusted: the caller checks every byte against the signed manifest. A server that sends more than it
should, nothing for a minute, or an error, ends as `source_unavailable`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from sealwave.images.agent.errors import Code, Refused

__all__ = ["CHUNK", "HttpsSource", "Source"]

# Bytes per read: large enough that Python's work per read does not count, small beside the memory of a node.
CHUNK = 1024 * 1024
# Seconds to connect, and without a byte, until an attempt counts as failed.
_TIMEOUTS = (10.0, 60.0)
# Attempts that bring no byte at all, after which the source is given up.
_FRUITLESS_ATTEMPTS = 4


class Source(Protocol):
    """An image folder somewhere."""

    def read(self, name: str, *, limit: int) -> bytes:
        """The whole of a small file; raises Refused when it cannot be had or has more than `limit` bytes."""

    def stream(self, name: str, *, size: int, start: int = 0) -> Iterator[bytes]:
        """`size` bytes of a file from `start` in chunks of any length; raises Refused when they cannot be had."""

    def close(self) -> None:
        """Give up what is held for reading."""


class HttpsSource:
    """An image folder under an HTTPS address."""

    def __init__(self, base: str, *, authority: Path) -> None:
        self._base = base.rstrip("/")
        self._session = requests.Session()
        # Proxies and credentials of the environment are none of the node's business.
        self._session.trust_env = False
        self._session.verify = str(authority)
        # The body must arrive as it lies on the server: sizes and ranges count its bytes.
        self._session.headers["Accept-Encoding"] = "identity"
        # `other=0`: a host whose certificate does not fit will not fit in a second either.
        retry = Retry(total=4, other=0, backoff_factor=0.5, status_forcelist=(502, 503, 504), allowed_methods=("GET",))
        self._session.mount("https://", HTTPAdapter(max_retries=retry))

    def close(self) -> None:
        """See Source."""
        self._session.close()

    def read(self, name: str, *, limit: int) -> bytes:
        """See Source."""
        content = bytearray()
        for chunk in self._body(name, start=0):
            content += chunk
            if len(content) > limit:
                raise Refused(Code.SOURCE_UNAVAILABLE, f"{self._base}/{name} has more than {limit} bytes")
        return bytes(content)

    def stream(self, name: str, *, size: int, start: int = 0) -> Iterator[bytes]:
        """See Source; a stream that is cut is resumed where it ended."""
        received, fruitless, last = 0, 0, Refused(Code.SOURCE_UNAVAILABLE, f"{self._base}/{name} is too short")
        while received < size:
            before = received
            try:
                for chunk in self._body(name, start=start + received, end=start + size):
                    wanted = chunk[: size - received]
                    received += len(wanted)
                    yield wanted
                    if received == size:
                        return
            except Refused as refusal:
                last = refusal
            fruitless = 0 if received > before else fruitless + 1
            if fruitless == _FRUITLESS_ATTEMPTS:
                raise last

    def _body(self, name: str, *, start: int, end: int | None = None) -> Iterator[bytes]:
        address = f"{self._base}/{name}"
        partial = end is not None
        # A single range: object stores know no more than one.
        headers = {"Range": f"bytes={start}-{end - 1}"} if end is not None else {}
        try:
            with self._session.get(
                address, headers=headers, stream=True, timeout=_TIMEOUTS, allow_redirects=False
            ) as answer:
                # Without ranges a host sends the file from its start, which is right for a range that begins there.
                if answer.status_code != 206 and not (answer.status_code == 200 and start == 0):
                    what = "does it serve ranges?" if partial and answer.status_code == 200 else "is it served?"
                    raise Refused(Code.SOURCE_UNAVAILABLE, f"{address} answered {answer.status_code}; {what}")
                while chunk := answer.raw.read(CHUNK):
                    yield chunk
        except (requests.RequestException, HTTPError, OSError) as error:
            raise Refused(
                Code.SOURCE_UNAVAILABLE, f"{address} cannot be read: {_reason(error)}; check the image host"
            ) from error


def _reason(error: BaseException) -> str:
    """What a person needs of an error that the HTTP libraries have wrapped in each other: the innermost one."""
    inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    return (str(error) or type(error).__name__)[:200]
