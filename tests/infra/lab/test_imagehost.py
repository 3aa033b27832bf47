"""The image host serves ranges of release files and nothing beside them."""

from datetime import UTC, datetime
from pathlib import Path

import requests

from sealwave.infra.lab import imagehost
from sealwave.infra.lab.pki import ensure_pki
from sealwave.infra.lab.ports import LOOPBACK, free_ports
from sealwave.infra.lab.web import Service, WebServices


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
