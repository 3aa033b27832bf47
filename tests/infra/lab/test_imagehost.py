"""The image host serves ranges of release files and nothing beside them."""

import errno
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from sealwave.infra.lab import imagehost
from sealwave.infra.lab.pki import ensure_pki
from sealwave.infra.lab.ports import LOOPBACK, free_ports
from sealwave.infra.lab.web import Service, WebServices

DIGEST = "sha256:" + "0" * 64


@pytest.fixture
def image(tmp_path: Path) -> Path:
    folder = tmp_path / "image"
    folder.mkdir()
    for name in imagehost.RELEASE_FILES:
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_publish_that_fails_says_so(tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(self: Path, target: Path) -> Path:
        raise OSError(number, os.strerror(number), str(target))

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        imagehost.publish(image, digest=DIGEST, folder=tmp_path / "www")
    assert not list((tmp_path / "www").iterdir())


def test_publish_beside_a_quicker_one_succeeds(tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def late(self: Path, target: Path) -> Path:
        target.mkdir()
        (target / "image.json").write_bytes(b"the same")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    place = imagehost.publish(image, digest=DIGEST, folder=tmp_path / "www")
    assert [path.name for path in (tmp_path / "www").iterdir()] == [place]


def test_release_files_only_and_ranges(tmp_path: Path) -> None:
    image, folder = tmp_path / "image", tmp_path / "www"
    image.mkdir()
    folder.mkdir()
    for name in (*imagehost.RELEASE_FILES, "disk.raw"):
        (image / name).write_bytes(name.encode() * 3)
    place = imagehost.publish(image, digest="sha256:" + "0" * 64, folder=folder)
    assert imagehost.publish(image, digest="sha256:" + "0" * 64, folder=folder) == place
    assert sorted(path.name for path in (folder / place).iterdir()) == sorted(imagehost.RELEASE_FILES)

    pki = ensure_pki(tmp_path / "pki", now=datetime.now(UTC))
    (port,) = free_ports(1)
    application = imagehost.application(folder)
    services = WebServices(Service("images", application, port, pki.certificate("images"), pki.key("images")))
    services.start()
    try:
        url, verify = f"https://{LOOPBACK}:{port}", str(pki.certificate("web-ca"))
        answer = requests.get(f"{url}/{place}/uki.efi", headers={"Range": "bytes=3-5"}, verify=verify, timeout=10)
        assert (answer.status_code, answer.content) == (206, b".ef")
        for path in ("", place, f"{place}/disk.raw", "..%2fimage%2fdisk.raw"):
            assert requests.get(f"{url}/{path}", verify=verify, timeout=10).status_code in (403, 404)
    finally:
        services.stop()
