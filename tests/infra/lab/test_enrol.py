"""Enrolment: a secret admits one key, and an answer tells nothing."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from cryptography import x509

from sealwave.infra.lab import enrol
from sealwave.infra.lab.pki import Pki, ensure_pki
from sealwave.infra.lab.ports import LOOPBACK, free_ports
from sealwave.infra.lab.web import Service, WebServices
from sealwave.signing.certs import make_request


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return ensure_pki(tmp_path / "pki", now=datetime.now(UTC))


@pytest.fixture
def enrolments(tmp_path: Path) -> enrol.Enrolments:
    return enrol.Enrolments(tmp_path / "enrolments.json")


@pytest.fixture
def url(pki: Pki, enrolments: enrol.Enrolments) -> Iterator[str]:
    (port,) = free_ports(1)
    application = enrol.application(enrolments, pki.authority("machine"))
    service = Service("enrolment", application, port, pki.certificate("enrolment"), pki.key("enrolment"))
    services = WebServices(service)
    services.start()
    yield f"https://{LOOPBACK}:{port}/v1/enrol"
    services.stop()


def _post(url: str, pki: Pki, body: object) -> requests.Response:
    return requests.post(url, json=body, verify=str(pki.certificate("web-ca")), timeout=10)


def test_one_secret_admits_one_key(url: str, pki: Pki, enrolments: enrol.Enrolments, tmp_path: Path) -> None:
    secret = enrolments.invite("node-1")
    assert secret not in (tmp_path / "enrolments.json").read_text()
    csr = make_request("node-1").certificate.decode()
    first = _post(url, pki, {"machine": "node-1", "secret": secret, "csr": csr})
    assert first.status_code == 200, first.text
    certificate = x509.load_pem_x509_certificate(first.json()["certificate"].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["node-1"]
    # A machine that lost the answer asks again with the key that it kept.
    assert _post(url, pki, {"machine": "node-1", "secret": secret, "csr": csr}).status_code == 200
    other = make_request("node-1").certificate.decode()
    second = _post(url, pki, {"machine": "node-1", "secret": secret, "csr": other})
    assert second.status_code == 403
    assert second.headers["Content-Type"].startswith("application/problem+json")
    assert second.json()["code"] == "secret_refused"


def test_an_answer_does_not_tell_unknown_from_wrong(url: str, pki: Pki, enrolments: enrol.Enrolments) -> None:
    enrolments.invite("node-1")
    answers = []
    for machine in ("node-1", "node-9"):
        csr = make_request(machine).certificate.decode()
        answers.append(_post(url, pki, {"machine": machine, "secret": "wrong" * 8, "csr": csr}))
    assert {answer.status_code for answer in answers} == {403}
    assert answers[0].text == answers[1].text


@pytest.mark.parametrize(
    "body",
    [
        pytest.param([], id="not an object"),
        pytest.param({"machine": "node-1", "secret": "x"}, id="no request"),
        pytest.param({"machine": 1, "secret": "x", "csr": "y"}, id="a number as name"),
        pytest.param({"machine": "node-1", "secret": "x", "csr": "y"}, id="no PEM"),
    ],
)
def test_malformed_requests_are_refused(url: str, pki: Pki, body: object) -> None:
    answer = _post(url, pki, body)
    assert answer.status_code == 400
    assert answer.json()["code"] == "bad_request"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 15_000, id="nested too deeply"),
        pytest.param(b'{"machine": "node-1", "secret": "\\ud800", "csr": "y"}', id="half a character as secret"),
        pytest.param(b'{"machine": "\\udfff", "secret": "x", "csr": "y"}', id="half a character as name"),
        pytest.param(b'{"machine": "node-1", "secret": "x", "csr": "\\ud800"}', id="half a character as request"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_hostile_bodies_get_400(url: str, pki: Pki, body: bytes) -> None:
    answer = requests.post(url, data=body, verify=str(pki.certificate("web-ca")), timeout=10)
    assert answer.status_code == 400
    assert answer.json()["code"] == "bad_request"


def test_the_request_must_name_the_invited_machine(url: str, pki: Pki, enrolments: enrol.Enrolments) -> None:
    secret = enrolments.invite("node-1")
    csr = make_request("node-2").certificate.decode()
    assert _post(url, pki, {"machine": "node-1", "secret": secret, "csr": csr}).status_code == 400


def test_too_large_a_body_is_refused(url: str, pki: Pki) -> None:
    assert _post(url, pki, {"machine": "x" * 100_000}).status_code == 413


def test_a_client_that_trusts_another_authority_does_not_talk_to_it(url: str, pki: Pki) -> None:
    with pytest.raises(requests.exceptions.SSLError) as caught:
        requests.post(url, json={}, verify=str(pki.certificate("machine-ca")), timeout=10)
    assert ssl.OPENSSL_VERSION
    assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value)
