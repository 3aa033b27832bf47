"""The pipeline without its programs: what it refuses before the first slow step, and what it says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sealwave.images import build
from sealwave.images.build import RootTree, build_image, build_tree, plain_modes, set_times
from sealwave.images.errors import LockMismatch, NoSpace, SpecError, StoreMissing, ToolFailed
from sealwave.images.lock import save_lock
from sealwave.images.sandbox import Sandbox
from sealwave.images.spec import parse_spec
from sealwave.images.steps import Progress, StepEvent
from sealwave.images.store import Store
from tests.images.samples import SPEC, lock


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(build, "check_host", lambda: None)
    monkeypatch.setattr(build, "host_programs", lambda: {"pyinfra": "3.10.0"})
    (tmp_path / "node.yaml").write_text(SPEC)
    spec = parse_spec(SPEC.encode(), tmp_path / "node.yaml")
    save_lock(lock(spec=spec.sha256), tmp_path / "node.lock")
    return tmp_path


def run(bench: Path) -> RootTree:
    return build_tree(bench / "node.yaml", bench / "node.lock", store=Store(bench / "store"), cache=bench / "cache")


def test_a_lock_that_does_not_match_is_refused_before_anything_is_made(bench: Path) -> None:
    (bench / "node.yaml").write_text(SPEC + "# a remark\n")
    with pytest.raises(LockMismatch):
        run(bench)
    assert not (bench / "cache").exists()


def test_a_wrong_spec_is_refused_before_the_lock_is_looked_at(bench: Path) -> None:
    (bench / "node.yaml").write_text(SPEC + "zzz: 1\n")
    with pytest.raises(SpecError):
        run(bench)


def test_an_empty_store_is_named(bench: Path) -> None:
    with pytest.raises(StoreMissing, match="needed for the tool package mmdebstrap"):
        run(bench)
    assert not list(bench.glob("cache/trees/*"))


def test_a_full_disk_is_said_in_one_sentence(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> Path:
        raise ToolFailed(["dpkg-deb"], status=2, output="dpkg-deb: error: write: No space left on device")

    monkeypatch.setattr(build, "tools_tree", full)
    with pytest.raises(NoSpace, match=r"no space is left on the disk that holds .*cache"):
        run(bench)


class _Seal:
    def __init__(self, *, fails: bool) -> None:
        self.fails = fails

    def __call__(self, tree: RootTree, *, out: Path, progress: Progress) -> None:
        (out / "image.json").write_text("{}")
        if self.fails:
            raise ToolFailed(["mkfs.erofs"], status=1, output="no")


def test_an_image_folder_is_replaced_whole_or_not_at_all(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = parse_spec(SPEC.encode(), bench / "node.yaml")
    tree = RootTree(folder=bench, key="k", spec=spec, lock=lock(), tools=Sandbox(bench))
    monkeypatch.setattr(build, "build_tree", lambda *_, **__: tree)
    out = bench / "images/v1"
    arguments = {"store": Store(bench / "store"), "cache": bench / "cache", "out": out}
    build_image(bench / "node.yaml", bench / "node.lock", seal=_Seal(fails=False), **arguments)  # type: ignore[arg-type]
    assert {path.name for path in out.iterdir()} == {"image.json", "lock.json"}
    with pytest.raises(ToolFailed):
        build_image(bench / "node.yaml", bench / "node.lock", seal=_Seal(fails=True), **arguments)  # type: ignore[arg-type]
    assert {path.name for path in out.iterdir()} == {"image.json", "lock.json"}
    assert [path.name for path in out.parent.iterdir()] == ["v1"]


def test_times_and_modes_do_not_hang_on_the_builder(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        with plain_modes():
            (tmp_path / "a").mkdir()
            (tmp_path / "a/b").write_text("x")
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(old)
    (tmp_path / "a/link").symlink_to("nowhere")
    set_times(tmp_path / "a", 7)
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o644
    assert {path.lstat().st_mtime for path in [tmp_path / "a", *(tmp_path / "a").iterdir()]} == {7.0}


def test_progress_is_a_pair_of_events() -> None:
    build.quiet(StepEvent("tree", "started", 0.0))
