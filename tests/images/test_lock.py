from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sealwave.images.configure import lay_out
from sealwave.images.confine import OutsideFolder
from sealwave.images.errors import LockError, LockMismatch
from sealwave.images.gosource import source_digest
from sealwave.images.lock import LockedFile, check_lock, dump_lock, kernel_of, load_lock, parse_lock, save_lock
from sealwave.images.spec import parse_spec
from sealwave.images.store import Store, hash_file
from tests.images.samples import SPEC, lock, package

PLACE = Path("node.lock")


def test_a_lock_survives_its_file(tmp_path: Path) -> None:
    save_lock(lock(), tmp_path / "lock.json")
    again = load_lock(tmp_path / "lock.json")
    assert again == lock()
    assert dump_lock(again) == dump_lock(lock())
    assert again.sha256 == lock().sha256


def test_a_lock_names_no_host() -> None:
    assert b"http" not in dump_lock(lock())


@pytest.mark.parametrize(
    "data",
    [b"not json", b"[]", b"{}", dump_lock(lock()).replace(b'"size": 1', b'"size": -1')],
    ids=["text", "list", "empty", "negative size"],
)
def test_a_file_that_is_no_lock_is_refused(data: bytes) -> None:
    with pytest.raises(LockError, match=r"node\.lock is not .*run `sealwave image lock` again"):
        parse_lock(data, PLACE)


def test_an_unknown_key_in_a_lock_is_refused() -> None:
    document = json.loads(dump_lock(lock()))
    document["host"] = "example.org"
    with pytest.raises(LockError):
        parse_lock(json.dumps(document).encode(), PLACE)


@pytest.mark.parametrize(
    "name", ["/etc/cron.d/x", "../x", "checks/../../x", "..", "a/..", "./a", "", "a\n/../../x"], ids=repr
)
def test_a_name_outside_is_refused(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / "store")
    locked = lock(files=(LockedFile(name, store.add_bytes(b"x")),))
    with pytest.raises(LockError, match=r"at files\.0\.name"):
        parse_lock(dump_lock(locked), PLACE)
    if name not in ("", "./a", "a/.."):
        with pytest.raises(OutsideFolder, match="leads out of the folder"):
            lay_out(locked, store=store, folder=tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("name", ["checks/test_node.py", "a.b/..c", ".hidden", "with space"])
def test_a_name_inside_is_laid_out(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / "store")
    locked = lock(files=(LockedFile(name, store.add_bytes(b"x")),))
    lay_out(parse_lock(dump_lock(locked), PLACE), store=store, folder=tmp_path / "folder")
    assert (tmp_path / "folder" / name).read_bytes() == b"x"


def test_a_lock_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LockError, match="cannot be read"):
        load_lock(tmp_path / "none")


def test_a_lock_of_another_spec_is_refused() -> None:
    spec = parse_spec(SPEC.encode(), Path("node.yaml"))
    programs = {"pyinfra": "3.10.0"}
    check_lock(lock(spec=spec.sha256), spec, programs=programs)
    with pytest.raises(LockMismatch, match=r"another text of node\.yaml"):
        check_lock(lock(), spec, programs=programs)


def test_a_lock_made_with_other_programs_is_refused() -> None:
    spec = parse_spec(SPEC.encode(), Path("node.yaml"))
    with pytest.raises(LockMismatch, match=r"pyinfra 3\.10\.0, and this machine has 3\.9\.0"):
        check_lock(lock(spec=spec.sha256), spec, programs={"pyinfra": "3.9.0"})


def test_a_deploy_or_go_source_that_changed_is_named(tmp_path: Path) -> None:
    (tmp_path / "go").mkdir()
    (tmp_path / "go/go.mod").write_text("module example.org/pause\n")
    (tmp_path / "deploy.py").write_text("1")
    text = SPEC + (
        "deploys: [deploy.py]\ngoParts:\n- {name: pause, source: go, package: example.org/pause,"
        " toolchain: go1.26.8, destination: /usr/bin/pause}\n"
    )
    spec = parse_spec(text.encode(), tmp_path / "node.yaml")
    (part,) = lock().go_parts
    good = lock(
        spec=spec.sha256,
        files=(LockedFile("deploy.py", hash_file(tmp_path / "deploy.py")), LockedFile("gone.py", "0" * 64)),
        go_parts=(replace(part, sources=source_digest(tmp_path / "go")),),
        programs={},
    )
    check_lock(good, spec, programs={})
    (tmp_path / "go/main.go").write_text("package main\n")
    with pytest.raises(LockMismatch, match=r"/go has changed since the lock was made"):
        check_lock(good, spec, programs={})
    (tmp_path / "deploy.py").write_text("2")
    with pytest.raises(LockMismatch, match=r"deploy\.py has changed since the lock was made"):
        check_lock(good, spec, programs={})


def test_the_kernel_is_found_among_the_packages() -> None:
    packages = [package("linux-image-cloud-amd64"), package("linux-image-6.12.1+deb13-cloud-amd64", version="6.12.1-1")]
    assert kernel_of(packages, "linux-image-cloud-amd64") == ("6.12.1+deb13-cloud-amd64", "6.12.1-1")
    with pytest.raises(LockError, match="brings 0 kernels"):
        kernel_of(packages[:1], "linux-image-cloud-amd64")
