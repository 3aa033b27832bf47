from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tenacity import wait_none

from sealwave.images import fetch
from sealwave.images.debian import Mirrors
from sealwave.images.errors import LockError
from sealwave.images.store import Store
from tests.images.samples import package

CONTENTS = {f"/debian/pool/{name}": name.encode() * 100 for name in ("a", "b", "c")}


class _Mirror(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        content = CONTENTS.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirrors]:
    monkeypatch.setattr(fetch._transfer.retry, "wait", wait_none())
    _Mirror.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Mirror)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    base = f"http://127.0.0.1:{server.server_port}/debian"
    yield Mirrors(base, base)
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_is_missing_is_fetched_once(tmp_path: Path, mirror: Mirrors) -> None:
    store = Store(tmp_path)
    packages = [package(name, content=name.encode() * 100, path=f"pool/{name}") for name in "abc"]
    assert fetch.fetch_packages([*packages, packages[0]], mirrors=mirror, store=store) == 300
    assert sorted(_Mirror.asked) == sorted(CONTENTS)
    assert fetch.fetch_packages(packages, mirrors=mirror, store=store) == 0
    assert len(_Mirror.asked) == 3


def test_a_version_that_vanished_is_one_sentence(tmp_path: Path, mirror: Mirrors) -> None:
    gone = package("gone", path="pool/gone")
    with pytest.raises(LockError, match=r"gone 1\.0-1 cannot be fetched: the mirror answered 404"):
        fetch.fetch_packages([gone], mirrors=mirror, store=Store(tmp_path))
    assert len(_Mirror.asked) == 1


def test_other_bytes_than_the_index_promised_are_refused(tmp_path: Path, mirror: Mirrors) -> None:
    wrong = replace(package("a", path="pool/a"), sha256="0" * 64, size=100)
    with pytest.raises(LockError, match="its signed index says 0000"):
        fetch.fetch_packages([wrong], mirrors=mirror, store=Store(tmp_path))
    assert not list((tmp_path / "sha256").iterdir())


def test_more_bytes_than_the_lock_says(tmp_path: Path, mirror: Mirrors) -> None:
    small = replace(package("a", path="pool/a"), size=99)
    with pytest.raises(LockError, match=r"more than the 99 bytes that its signed index says a 1\.0-1 has"):
        fetch.fetch_packages([small], mirrors=mirror, store=Store(tmp_path))
    assert len(_Mirror.asked) == 1
    assert not list((tmp_path / "sha256").iterdir())


def test_a_silent_mirror_is_tried_again_and_then_named(tmp_path: Path, mirror: Mirrors) -> None:
    silent = Mirrors("http://127.0.0.1:9/debian", "http://127.0.0.1:9/debian")
    with pytest.raises(LockError, match="the mirror did not answer"):
        fetch.fetch_packages([package("a", path="pool/a")], mirrors=silent, store=Store(tmp_path))
