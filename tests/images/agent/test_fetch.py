"""Fetching over real HTTPS: a stream that is cut goes on where it ended, and nothing is believed."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sealwave.images.agent.errors import Code, Refused
from sealwave.images.agent.fetch import HttpsSource
from sealwave.signing.certs import issue_server, make_authority
from sealwave.signing.tls import server_context

CONTENT = bytes(range(256)) * 20_000


class Host(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.cut_after: int | None = None  # Bytes of each answer, after which the connection is closed.
        self.ranges = True
        self.starts: list[int] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some of these tests are about."""


class Handler(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        if self.path == "/images/busy" and not self.server.starts:
            self.server.starts.append(0)
            self._head(503, [("Retry-After", "31536000")], 0)
            return
        if self.path == "/images/elsewhere":
            self._head(302, [("Location", "https://127.0.0.1:1/other")], 0)
            return
        if self.path not in ("/images/file", "/images/busy"):
            self._head(404, [], 0)
            return
        wanted = self.headers.get("Range", "")
        start, end = (int(part) for part in wanted[6:].split("-")) if wanted else (0, len(CONTENT))
        self.server.starts.append(start)
        partial = bool(wanted) and self.server.ranges
        body = CONTENT[start : end + 1] if partial else CONTENT
        self._head(206 if partial else 200, [], len(body))
        self.wfile.write(body[: self.server.cut_after])
        self.close_connection = True

    def _head(self, status: int, headers: list[tuple[str, str]], length: int) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    now = datetime.now(UTC)
    made = make_authority("web", now=now)
    issued = issue_server(made, common_name="images", ips=["127.0.0.1"], now=now)
    (tmp_path / "web.crt").write_bytes(issued.certificate)
    (tmp_path / "web.key").write_bytes(issued.key)
    (tmp_path / "ca.pem").write_bytes(made.pem)
    return tmp_path / "ca.pem"


@pytest.fixture
def host(authority: Path) -> Iterator[Host]:
    host = Host()
    context: ssl.SSLContext = server_context(
        authority.parent / "web.crt", authority.parent / "web.key", client_authority=None
    )
    host.socket = context.wrap_socket(host.socket, server_side=True)
    thread = threading.Thread(target=host.serve_forever, args=(0.02,))
    thread.start()
    yield host
    host.shutdown()
    thread.join()
    host.server_close()


@pytest.fixture
def source(host: Host, authority: Path) -> Iterator[HttpsSource]:
    source = HttpsSource(f"https://127.0.0.1:{host.server_port}/images/", authority=authority)
    yield source
    source.close()


def fetched(source: HttpsSource, size: int = len(CONTENT)) -> bytes:
    return b"".join(source.stream("file", size=size))


def test_whole(source: HttpsSource) -> None:
    assert fetched(source) == CONTENT
    assert source.read("file", limit=len(CONTENT)) == CONTENT


def test_cut_stream_is_resumed(source: HttpsSource, host: Host) -> None:
    host.cut_after = 2_000_000
    assert fetched(source) == CONTENT
    assert host.starts == [0, 2_000_000, 4_000_000]


def test_range(source: HttpsSource) -> None:
    assert b"".join(source.stream("file", start=4096, size=8192)) == CONTENT[4096 : 4096 + 8192]


def test_host_without_ranges_serves_a_whole_file(source: HttpsSource, host: Host) -> None:
    host.ranges = False
    assert fetched(source) == CONTENT
    with pytest.raises(Refused, match="does it serve ranges"):
        list(source.stream("file", start=4096, size=4096))


def test_no_more_than_asked(source: HttpsSource) -> None:
    assert fetched(source, 10_000) == CONTENT[:10_000]


@pytest.mark.parametrize(
    ("name", "cut_after", "ranges"), [("dead", 0, True), ("no ranges", 1_000_000, False)], ids=["dead", "no ranges"]
)
def test_given_up(name: str, cut_after: int, ranges: bool, source: HttpsSource, host: Host) -> None:
    host.cut_after, host.ranges = cut_after, ranges
    with pytest.raises(Refused) as refusal:
        fetched(source)
    assert refusal.value.problem.code is Code.SOURCE_UNAVAILABLE


def test_retry_after_is_not_obeyed(source: HttpsSource) -> None:
    assert source.read("busy", limit=len(CONTENT)) == CONTENT


class Clock:
    """Every look at it takes this many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._now = 0.0

    def __call__(self) -> float:
        self._now += self._seconds
        return self._now


@pytest.mark.parametrize("cut_after", [None, 1], ids=["one answer", "a byte per answer"])
def test_a_drip_is_given_up(cut_after: int | None, host: Host, authority: Path) -> None:
    host.cut_after = cut_after
    address = f"https://127.0.0.1:{host.server_port}/images"
    source = HttpsSource(address, authority=authority, clock=Clock(59.0))
    with pytest.raises(Refused, match=r"brought \d+ bytes in \d+ s"):
        fetched(source)
    source.close()


def test_short_file(source: HttpsSource) -> None:
    with pytest.raises(Refused, match=r"answered 200|too short|cannot be read"):
        fetched(source, len(CONTENT) + 1)


def test_too_large(source: HttpsSource) -> None:
    with pytest.raises(Refused, match="more than 100 bytes"):
        source.read("file", limit=100)


@pytest.mark.parametrize(("name", "reason"), [("missing", "answered 404"), ("elsewhere", "answered 302")])
def test_not_there(name: str, reason: str, source: HttpsSource) -> None:
    with pytest.raises(Refused, match=reason):
        source.read(name, limit=100)


def test_host_is_verified(host: Host, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(make_authority("other", now=datetime.now(UTC)).pem)
    source = HttpsSource(f"https://127.0.0.1:{host.server_port}/images", authority=other)
    with pytest.raises(Refused, match="cannot be read"):
        source.read("file", limit=100)
    source.close()
