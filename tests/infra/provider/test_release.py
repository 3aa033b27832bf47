import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sealwave.infra.provider import imagefolder
from sealwave.infra.provider.config import Settings
from sealwave.infra.provider.errors import ReleaseError
from sealwave.infra.provider.imagefolder import PAYLOAD_TYPE
from sealwave.infra.provider.release import ImageRelease
from sealwave.infra.provider.values import UNKNOWN
from sealwave.signing import dsse
from sealwave.signing.keys import LabKeys
from tests.infra.provider.fakes import Lines

SOURCE = "https://images.example/v1"
MANIFEST = json.dumps({"name": "node", "version": "1.0", "releaseNumber": 7, "rootHash": "ab" * 32}).encode()


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> LabKeys:
    return LabKeys.ensure(tmp_path_factory.mktemp("keys"), now=datetime.now(UTC))


@pytest.fixture
def settings(tmp_path: Path, keys: LabKeys) -> Settings:
    (tmp_path / "release.pub").write_bytes(keys.release.public_pem)
    (tmp_path / "images-ca.pem").write_text("a certificate")
    return Settings(credentials=tmp_path)


def publish(monkeypatch: pytest.MonkeyPatch, files: Mapping[str, bytes]) -> None:
    def fetch(address: str, authority: Path) -> bytes:
        try:
            return files[address.removeprefix(SOURCE + "/")]
        except KeyError:
            raise ReleaseError(address, "the host answers 404; check the address") from None

    monkeypatch.setattr(imagefolder, "_fetch", fetch)


def test_a_verified_image_gives_out_what_its_manifest_says(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, keys: LabKeys
) -> None:
    envelope = dsse.sign(MANIFEST, payload_type=PAYLOAD_TYPE, signer=keys.release.signer)
    publish(monkeypatch, {"image.json": MANIFEST, "image.json.dsse": envelope})
    release = ImageRelease(settings)
    inputs, failures = release.check({"source": SOURCE, "digest": digest(MANIFEST)})
    assert failures == []
    identity, outputs = release.apply(Lines().session(), new=inputs)
    assert identity == digest(MANIFEST)[:19]
    assert (outputs["version"], outputs["releaseNumber"], outputs["rootHash"]) == ("1.0", 7, "ab" * 32)
    assert release.preview(Lines().session(), new=inputs) == outputs
    assert release.diff(Lines().session(), old=outputs, new=inputs) == []
    changed = {**inputs, "digest": digest(b"other")}
    assert [item.path for item in release.diff(Lines().session(), old=outputs, new=changed)] == ["digest"]


@pytest.mark.parametrize(
    ("pinned", "signed", "role", "payload_type", "says"),
    [
        (b"other", MANIFEST, "release", PAYLOAD_TYPE, "is pinned"),
        (MANIFEST, b"{}", "release", PAYLOAD_TYPE, "over another manifest"),
        (MANIFEST, MANIFEST, "config", PAYLOAD_TYPE, "no trusted key"),
        (MANIFEST, MANIFEST, "release", "application/vnd.sealwave.config+json", "of type"),
        (MANIFEST, None, "release", PAYLOAD_TYPE, "404"),
    ],
)
def test_an_image_that_does_not_verify_is_a_failure_of_its_source(
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    keys: LabKeys,
    pinned: bytes,
    signed: bytes | None,
    role: str,
    payload_type: str,
    says: str,
) -> None:
    files = {"image.json": MANIFEST}
    if signed is not None:
        signer = getattr(keys, role).signer
        files["image.json.dsse"] = dsse.sign(signed, payload_type=payload_type, signer=signer)
    publish(monkeypatch, files)
    _, failures = ImageRelease(settings).check({"source": SOURCE, "digest": digest(pinned)})
    assert [failure.input for failure in failures] == ["source"]
    assert says in failures[0].reason


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        ({"source": "http://images.example", "digest": digest(MANIFEST)}, ["source"]),
        ({"source": SOURCE, "digest": "v1"}, ["digest"]),
        ({"source": SOURCE, "digest": digest(MANIFEST), "sources": "x"}, ["sources"]),
        ({"source": UNKNOWN, "digest": UNKNOWN}, []),
    ],
)
def test_inputs_are_checked_before_anything_is_fetched(
    settings: Settings, inputs: dict[str, Any], names: list[str]
) -> None:
    _, failures = ImageRelease(settings).check(inputs)
    assert [failure.input for failure in failures] == names


def test_a_trust_file_that_is_missing_is_named(settings: Settings) -> None:
    assert settings.credentials
    (settings.credentials / "release.pub").unlink()
    _, failures = ImageRelease(settings).check({"source": SOURCE, "digest": digest(MANIFEST)})
    assert "release.pub" in failures[0].reason


def test_a_host_that_does_not_answer_is_one_sentence(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"not vouched for|does not answer"):
        imagefolder._fetch("https://127.0.0.1:9/image.json", tmp_path / "images-ca.pem")
