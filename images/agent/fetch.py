"""Files of an image folder over HTTPS: verified server, size limits, time limits, and resuming a cut stream.

What arrives is not trusted: the caller checks every byte against the signed manifest. A server that sends more than it
should, or slower than it must, or nothing for a minute, or an error, ends as `source_unavailable`. How long a staging
lasts is bounded here and not by the host's word: until it ends, every other change of the machine waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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
# Bytes per second that a body must bring on the average once the grace (seconds) is over. The slowest machine known to
# us (emulated, three on two cores) reads 2 MB/s.
_SLOWEST = 64 * 1024
_GRACE = 60.0
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


class _Body(Protocol):
    """What is used of a urllib3 response."""

    def read1(self, amt: int) -> bytes:
        """What one read of the connection brings; nothing at the end."""


class _TooSlow(Refused):
    """A file that would take for ever; trying again would take as long."""


class _Pace:
    """How fast one file comes, over all attempts at it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._received = 0

    def count(self, received: int, address: str) -> None:
        """Note bytes that came; raises _TooSlow."""
        self._received += received
        seconds = self._clock() - self._began
        if seconds > _GRACE and self._received < seconds * _SLOWEST:
            raise _TooSlow(
                Code.SOURCE_UNAVAILABLE,
                f"{address} brought {self._received} bytes in {seconds:.0f} s; check the image host and the way to it",
            )


class HttpsSource:
    """An image folder under an HTTPS address."""

    def __init__(self, base: str, *, authority: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._base = base.rstrip("/")
        self._clock = clock
        self._session = requests.Session()
        # Proxies and credentials of the environment are none of the node's business.
        self._session.trust_env = False
        self._session.verify = str(authority)
        # The body must arrive as it lies on the server: sizes and ranges count its bytes.
        self._session.headers["Accept-Encoding"] = "identity"
        # `other=0`: a host whose certificate does not fit will not fit in a second either.
        retry = Retry(
            total=4,
            other=0,
            backoff_factor=0.5,
            status_forcelist=(502, 503, 504),
            allowed_methods=("GET",),
            # The host would say how long we sleep.
            respect_retry_after_header=False,
        )
        self._session.mount("https://", HTTPAdapter(max_retries=retry))

    def close(self) -> None:
        """See Source."""
        self._session.close()

    def read(self, name: str, *, limit: int) -> bytes:
        """See Source."""
        content = bytearray()
        for chunk in self._body(name, _Pace(self._clock), start=0):
            content += chunk
            if len(content) > limit:
                raise Refused(Code.SOURCE_UNAVAILABLE, f"{self._base}/{name} has more than {limit} bytes")
        return bytes(content)

    def stream(self, name: str, *, size: int, start: int = 0) -> Iterator[bytes]:
        """See Source; a stream that is cut is resumed where it ended."""
        pace = _Pace(self._clock)
        received, fruitless, last = 0, 0, Refused(Code.SOURCE_UNAVAILABLE, f"{self._base}/{name} is too short")
        while received < size:
            before = received
            try:
                for chunk in self._body(name, pace, start=start + received, end=start + size):
                    wanted = chunk[: size - received]
                    received += len(wanted)
                    yield wanted
                    if received == size:
                        return
            except _TooSlow:
                raise
            except Refused as refusal:
                last = refusal
            fruitless = 0 if received > before else fruitless + 1
            if fruitless == _FRUITLESS_ATTEMPTS:
                raise last

    def _body(self, name: str, pace: _Pace, *, start: int, end: int | None = None) -> Iterator[bytes]:
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
                body: _Body = answer.raw
                # Each piece is what one read of the connection brings: a read of a fixed length would wait for the last
                # of its bytes, and so for as long as the host drips.
                while chunk := body.read1(CHUNK):
                    pace.count(len(chunk), address)
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
