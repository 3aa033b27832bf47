"""Lock and build of a small image on real packages: needs root, bubblewrap, and a package mirror for the lock."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealwave.images.build import RootTree, build_tree
from sealwave.images.check import check_tree
from sealwave.images.errors import CheckFailed, LockMismatch, PackageNotFound, StoreCorrupt, ToolFailed
from sealwave.images.lock import load_lock
from sealwave.images.prune import walk
from sealwave.images.resolve import Anchors, lock_image
from sealwave.images.steps import StepEvent
from sealwave.images.store import Store, write_atomic

pytestmark = [pytest.mark.tools, pytest.mark.timeout(600)]

SPEC = """\
apiVersion: sealwave.dev/v1
kind: NodeImage
name: small
version: 1.0.0
releaseNumber: 1
base:
  suite: trixie
packages: [systemd, systemd-sysv, systemd-cryptsetup, udev, kmod, dbus, python3]
kernel:
  package: linux-image-cloud-amd64
  modules: [fs/erofs]
sysctls:
  kernel.panic: 10
deploys: [deploy.py]
files: [greeting.txt]
checks: [test_small.py]
"""

DEPLOY = """\
from pyinfra.operations import files, server

files.put(name="greet", src="greeting.txt", dest="/etc/issue", mode="644")
server.shell(name="use a shell", commands=["id > /etc/who-built-this", "touch /tmp/left-behind"])
"""

CHECK = """\
def test_what_was_configured(host):
    assert host.file("/etc/issue").content_string == "hello\\n"
    assert host.file("/etc/who-built-this").exists
    assert not host.file("/tmp/left-behind").exists
    assert not host.exists("apt-get")
    host.run("echo spoiled > /etc/issue; touch /written-by-a-check; rm -r /usr/share")
"""


class Bench:
    """A folder with a spec, keys and a lock; the store is shared with the machine's cache to spare the mirror."""

    def __init__(self, folder: Path) -> None:
        self.spec, self.lock = folder / "small.yaml", folder / "small.lock"
        self.store = Store(Path(os.environ.get("SEALWAVE_CACHE", "~/.cache/sealwave")).expanduser() / "store")
        self.folder = folder
        for name, content in {
            "small.yaml": SPEC,
            "deploy.py": DEPLOY,
            "greeting.txt": "hello\n",
            "test_small.py": CHECK,
            "release.pub": "release",
            "config.pub": "config",
            "db.pem": "db",
        }.items():
            (folder / name).write_text(content)
        self.anchors = Anchors(folder / "release.pub", folder / "config.pub", folder / "db.pem")

    def resolve(self, spec: Path | None = None, lock: Path | None = None) -> None:
        lock_image(
            spec or self.spec,
            lock or self.lock,
            anchors=self.anchors,
            store=self.store,
            cache=self.folder / "cache",
        )

    def build(self, cache: str, events: list[StepEvent] | None = None, *, store: Store | None = None) -> RootTree:
        progress = (lambda event: None) if events is None else events.append
        return build_tree(self.spec, self.lock, store=store or self.store, cache=self.folder / cache, progress=progress)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = Bench(tmp_path_factory.mktemp("small"))
    bench.resolve()
    return bench


@pytest.fixture(scope="module")
def built(bench: Bench) -> RootTree:
    return bench.build("one")


def test_two_builds_are_equal_in_every_time_zone(
    bench: Bench, built: RootTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Apia")
    monkeypatch.setenv("LC_ALL", "C")
    old = os.umask(0o077)
    try:
        again = bench.build("two")
    finally:
        os.umask(old)
    assert dict(picture(again.folder)) == dict(picture(built.folder))


def test_the_tree_is_what_was_asked_for(built: RootTree) -> None:
    left = {str(path.relative_to(built.folder)) for path in walk(built.folder)}
    assert not {"usr/bin/sh", "usr/bin/dash", "usr/bin/bash", "usr/bin/perl", "usr/bin/apt", "usr/bin/dpkg"} & left
    assert not {"written-by-a-check", "tmp/left-behind", "usr/share/doc", "usr/share/man", "usr/share/locale"} & left
    assert (built.folder / "etc/issue").read_text() == "hello\n"
    assert (built.folder / "usr/lib/sealwave/trust/release.pub").read_text() == "release"
    assert (built.folder / "etc/machine-id").read_bytes() == b""
    assert {path.lstat().st_mtime for path in walk(built.folder)} == {float(built.lock.source_date_epoch)}


def test_a_check_leaves_nothing_behind_whatever_it_does(bench: Bench, built: RootTree) -> None:
    before = dict(picture(built.folder))
    check_tree(built.spec, built.lock, tree=built.folder, store=bench.store, tools=built.tools.tools)
    assert dict(picture(built.folder)) == before


def test_an_unchanged_build_does_nothing_again(bench: Bench, built: RootTree) -> None:
    events: list[StepEvent] = []
    assert bench.build("one", events).folder == built.folder
    assert [event.step for event in events if event.state == "reused"] == ["packages", "tree"]


def test_a_program_of_the_tools_has_no_network_and_sees_no_other_file(built: RootTree) -> None:
    script = (
        "import os, socket; print(os.path.exists('/root'), os.path.exists('/home'));"
        "socket.create_connection(('192.0.2.1', 53))"
    )
    with pytest.raises(ToolFailed, match="Network is unreachable") as caught:
        built.tools.run(["python3", "-c", script])
    assert "False False" in caught.value.output


def test_a_lock_of_another_spec_is_refused(bench: Bench, built: RootTree) -> None:
    changed = bench.folder / "changed.yaml"
    changed.write_text(SPEC.replace("version: 1.0.0", "version: 1.0.1"))
    with pytest.raises(LockMismatch, match=r"another text of .*changed\.yaml"):
        build_tree(changed, bench.lock, store=bench.store, cache=bench.folder / "one")


def test_a_package_that_does_not_exist_is_one_sentence_and_no_lock(bench: Bench) -> None:
    wrong, lock = bench.folder / "wrong.yaml", bench.folder / "wrong.lock"
    wrong.write_text(SPEC.replace("[systemd,", "[systemd, no-such-package-here,"))
    with pytest.raises(PackageNotFound, match="no package no-such-package-here in trixie or trixie-security"):
        bench.resolve(wrong, lock)
    assert not lock.exists()


def test_a_spoiled_package_in_the_store_is_refused(bench: Bench, tmp_path: Path) -> None:
    locked = load_lock(bench.lock)
    store = Store(tmp_path / "store")
    for package in {*locked.packages, *locked.tools}:
        place = store.place(package.sha256)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(bench.store.place(package.sha256))
    spoiled = next(package for package in locked.packages if package.name == "systemd")
    content = bytearray(store.place(spoiled.sha256).read_bytes())
    content[-1] ^= 1
    write_atomic(store.place(spoiled.sha256), bytes(content))
    with pytest.raises(StoreCorrupt, match=r"the package systemd .*should hash to"):
        bench.build("spoiled", store=store)
    assert not list((bench.folder / "spoiled/steps").iterdir())


def test_a_failing_check_keeps_no_tree(bench: Bench, built: RootTree) -> None:
    (bench.folder / "test_small.py").write_text("def test_wrong(host):\n    assert host.file('/none').exists\n")
    wrong, lock = bench.folder / "checked.yaml", bench.folder / "checked.lock"
    wrong.write_text(SPEC)
    # The packages are there already; only the tree is made, and thrown away.
    (bench.folder / "three/steps").mkdir(parents=True)
    for result in (bench.folder / "one/steps").glob("packages-*"):
        (bench.folder / "three/steps" / result.name).symlink_to(result)
    try:
        bench.resolve(wrong, lock)
        with pytest.raises(CheckFailed, match=r"the built tree fails test_small\.py::test_wrong"):
            build_tree(wrong, lock, store=bench.store, cache=bench.folder / "three")
    finally:
        (bench.folder / "test_small.py").write_text(CHECK)
    assert not list((bench.folder / "three/steps").glob("tree-*"))


def picture(tree: Path) -> Iterator[tuple[str, object]]:
    """Everything that an image takes from a tree, by path."""
    for path in walk(tree):
        status = path.lstat()
        content: object = ""
        if stat.S_ISLNK(status.st_mode):
            content = path.readlink()
        elif stat.S_ISREG(status.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        yield (
            str(path.relative_to(tree)),
            (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_rdev, content),
        )
