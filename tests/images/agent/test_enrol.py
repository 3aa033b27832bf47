"""Enrolment against a server of the test: certificates, the one-time secret, and cuts in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import dumps, loads
from pathlib import Path

import pytest
from cryptography import x509

from sealwave.images.agent.config import MachineConfig, parse_config
from sealwave.images.agent.enrol import RENEW_BEFORE, Identity, enrol, renewal_due
from sealwave.images.agent.errors import EnrolmentFailed
from sealwave.signing.certs import issue_server, make_authority, sign_machine_request
from sealwave.signing.tls import server_context
from tests.images.agent.test_config import document
from tests.simulated.images import Trust

NOW = datetime.now(UTC)


class Server(ThreadingHTTPServer):
    """Answers as the enrolment service does: a secret belongs to the first key that shows it."""

    daemon_threads = True

    def __init__(self, trust: Trust) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.trust = trust
        self.used_by: bytes | None = None
        self.calls = 0
        self.machine = "node-1"
        self.cut = False  # True: it promises more than it sends.


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.calls += 1
        body = loads(self.rfile.read(int(self.headers["Content-Length"])))
        csr = body["csr"].encode()
        if self.server.used_by not in (None, csr):
            self._answer(403, {"code": "secret_used"})
            return
        self.server.used_by = csr
        certificate = sign_machine_request(self.server.trust.machine_ca, csr, machine=self.server.machine, now=NOW)
        self._answer(200, {"certificate": certificate.decode()})

    def _answer(self, status: int, body: dict[str, str]) -> None:
        content = dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) + (9 if self.server.cut else 0)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    made = make_authority("web", now=NOW)
    issued = issue_server(made, common_name="enrolment", ips=["127.0.0.1"], now=NOW)
    (tmp_path / "web.crt").write_bytes(issued.certificate)
    (tmp_path / "web.key").write_bytes(issued.key)
    (tmp_path / "web-ca.pem").write_bytes(made.pem)
    return tmp_path / "web-ca.pem"


@pytest.fixture
def server(trust: Trust, authority: Path) -> Iterator[Server]:
    server = Server(trust)
    context = server_context(authority.parent / "web.crt", authority.parent / "web.key", client_authority=None)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def config(server: Server, trust: Trust) -> MachineConfig:
    url = f"https://127.0.0.1:{server.server_port}/v1/enrol"
    content = document(
        enrolment={"url": url, "ca": trust.machine_ca.pem.decode(), "secret": "x" * 20},
        machineAPI={"clientCA": trust.machine_ca.pem.decode(), "port": 9443},
    )
    return parse_config(dumps(content).encode())


def test_enrols_once(config: MachineConfig, server: Server, authority: Path, tmp_path: Path) -> None:
    identity = Identity.under(tmp_path / "data")
    assert enrol(config, identity, authority=authority, now=NOW) is True
    assert enrol(config, identity, authority=authority, now=NOW) is False
    assert server.calls == 1
    assert identity.key.stat().st_mode & 0o777 == 0o600
    assert identity.key.parent.stat().st_mode & 0o777 == 0o700
    certificate = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=node-1"


def test_cut_before_the_certificate_was_stored(
    config: MachineConfig, server: Server, authority: Path, tmp_path: Path
) -> None:
    identity = Identity.under(tmp_path / "data")
    enrol(config, identity, authority=authority, now=NOW)
    key = identity.key.read_bytes()
    identity.certificate.unlink()
    assert enrol(config, identity, authority=authority, now=NOW) is True
    assert identity.key.read_bytes() == key


def test_secret_of_another_machine_is_refused(
    config: MachineConfig, server: Server, authority: Path, tmp_path: Path
) -> None:
    enrol(config, Identity.under(tmp_path / "first"), authority=authority, now=NOW)
    second = Identity.under(tmp_path / "second")
    with pytest.raises(EnrolmentFailed, match=r"secret is unknown or was used.*new secret") as error:
        enrol(config, second, authority=authority, now=NOW)
    assert error.value.final
    assert not second.certificate.exists()


def test_key_without_request_is_made_again(
    config: MachineConfig, server: Server, authority: Path, tmp_path: Path
) -> None:
    identity = Identity.under(tmp_path / "data")
    identity.key.parent.mkdir(parents=True)
    identity.request.write_text("spoiled")
    assert enrol(config, identity, authority=authority, now=NOW) is True


def test_certificate_for_another_name(
    config: MachineConfig, server: Server, authority: Path, tmp_path: Path, trust: Trust
) -> None:
    server.trust = Trust(make_authority("others", now=NOW), trust.release, trust.config)
    identity = Identity.under(tmp_path / "data")
    with pytest.raises(EnrolmentFailed, match="machine authority"):
        enrol(config, identity, authority=authority, now=NOW)
    assert not identity.certificate.exists()


def test_renewed_before_its_end(config: MachineConfig, server: Server, authority: Path, tmp_path: Path) -> None:
    identity = Identity.under(tmp_path / "data")
    enrol(config, identity, authority=authority, now=NOW)
    end = x509.load_pem_x509_certificate(identity.certificate.read_bytes()).not_valid_after_utc
    due = renewal_due(identity, now=NOW)
    assert due == end - NOW - RENEW_BEFORE
    assert enrol(config, identity, authority=authority, now=NOW + due - timedelta(hours=1)) is False
    assert enrol(config, identity, authority=authority, now=NOW + due) is True
    assert server.calls == 2


@pytest.mark.parametrize("late", [timedelta(days=350), timedelta(days=4000)], ids=["ends soon", "ended"])
def test_serves_while_renewal_fails(
    config: MachineConfig, server: Server, authority: Path, tmp_path: Path, late: timedelta
) -> None:
    identity = Identity.under(tmp_path / "data")
    enrol(config, identity, authority=authority, now=NOW)
    kept = identity.certificate.read_bytes()
    server.used_by = b"another machine"
    assert enrol(config, identity, authority=authority, now=NOW + late) is False
    assert (server.calls, identity.certificate.read_bytes()) == (2, kept)
    assert renewal_due(identity, now=NOW + late) == timedelta(days=1)


def test_an_answer_that_is_cut(config: MachineConfig, server: Server, authority: Path, tmp_path: Path) -> None:
    server.cut = True
    with pytest.raises(EnrolmentFailed, match="cannot be reached"):
        enrol(config, Identity.under(tmp_path / "data"), authority=authority, now=NOW)


def test_server_is_verified(config: MachineConfig, server: Server, tmp_path: Path, trust: Trust) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_bytes(trust.machine_ca.pem)
    identity = Identity.under(tmp_path / "data")
    with pytest.raises(EnrolmentFailed, match="cannot be reached"):
        enrol(config, identity, authority=wrong, now=NOW)
    assert server.calls == 0
