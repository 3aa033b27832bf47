"""Configuring and checking: what the stages see, and what an error says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sealwave.images import check, configure
from sealwave.images.check import check_tree, failure
from sealwave.images.configure import settings
from sealwave.images.errors import CheckFailed, ToolFailed
from sealwave.images.hoststage import VIEW, check_line, configure_line
from sealwave.images.lock import LockedFile
from sealwave.images.spec import load_spec, parse_spec
from sealwave.images.store import Store
from tests.images.samples import EXAMPLES, SPEC, lock

TREE, FOLDER = Path("/cache/tree"), Path("/scratch/deploys")


def test_a_deploy_may_write_the_tree_and_nothing_else() -> None:
    line = configure_line(TREE, FOLDER, ["-m", "pyinfra"])
    text = " ".join(line)
    assert "--ro-bind / /" in text
    assert f"--bind {TREE} {TREE}" in text
    assert text.count(" --bind ") == 1
    assert {"--unshare-net", "--clearenv"} <= set(line)
    assert line[-3:] == [sys.executable, "-m", "pyinfra"]


def test_a_check_sees_the_tree_below_a_layer_in_memory() -> None:
    line = check_line(TREE, FOLDER, ["-m", "pytest"], layer=Path("/scratch/layer"))
    text = " ".join(line)
    assert f"--ro-bind {TREE} {TREE}" in text
    assert " --bind " not in text
    assert "upperdir=/tmp/upper" in text
    assert str(VIEW).startswith("/tmp/")


def test_settings_say_what_the_spec_says() -> None:
    spec = load_spec(EXAMPLES / "node-image-v2.yaml")
    written = settings(spec, units=["agent.service"])
    assert "net.ipv4.ip_forward = 1\n" in written["texts"]["/etc/sysctl.d/50-sealwave.conf"]
    assert '"maxPods": 64' in written["texts"]["/usr/lib/sealwave/kubelet.json"]
    assert written["enable"] == ["agent.service", *spec.enable]
    assert written["release"] == {"IMAGE_ID": "worker", "IMAGE_VERSION": "1.1.0"}


def test_a_spec_without_settings_writes_no_empty_files() -> None:
    written = settings(parse_spec(SPEC.encode(), Path("node.yaml")))
    assert "/etc/sysctl.d/50-sealwave.conf" not in written["texts"]
    assert "/etc/modules-load.d/50-sealwave.conf" not in written["texts"]


PYTEST = """\
E       assert False
=========================== short test summary info ============================
FAILED checks/test_node.py::test_kubelet[chroot:///tmp/tree] - assert False
1 failed, 2 passed in 0.72s
"""


def test_a_failed_check_is_named_with_its_reason() -> None:
    assert failure(PYTEST) == "checks/test_node.py::test_kubelet[chroot:///tmp/tree] (assert False)"
    assert failure("no tests ran in 0.01s\n") == "its checks: no tests ran in 0.01s"
    assert failure("") == "its checks: they said nothing"


def test_a_failed_check_fails_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(line: object, *, named: list[str]) -> bytes:
        raise ToolFailed(named, status=1, output=PYTEST)

    monkeypatch.setattr(check, "run_stage", fail)
    store = Store(tmp_path / "store")
    spec = parse_spec((SPEC + "checks: [test_node.py]\n").encode(), Path("node.yaml"))
    tools = tmp_path / "tools"
    (tools / "usr/bin").mkdir(parents=True)
    (tools / "usr/bin/dash").write_bytes(b"")
    locked = lock(files=(LockedFile("test_node.py", store.add_bytes(b"")),))
    with pytest.raises(CheckFailed, match="the built tree fails checks/test_node"):
        check_tree(spec, locked, tree=tmp_path, store=store, tools=tools)


def test_a_failed_deploy_is_named_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def fail(line: list[str], *, named: list[str]) -> bytes:
        seen.append(named[1])
        if named[1] == "deploys/mine.py":
            raise ToolFailed(named, status=1, output="[x] ok\n[x] Error: executed 0 commands\nbye\n")
        return b""

    monkeypatch.setattr(configure, "run_stage", fail)
    store = Store(tmp_path / "store")
    spec = parse_spec((SPEC + "deploys: [deploys/mine.py]\n").encode(), Path("node.yaml"))
    locked = lock(files=(LockedFile("deploys/mine.py", store.add_bytes(b"")),))
    with pytest.raises(CheckFailed, match=r"the deploy deploys/mine\.py failed.*Error: executed 0 commands"):
        configure.configure(spec, locked, tree=tmp_path, store=store, units=[])
    assert seen == ["basedeploy.py", "deploys/mine.py"]
