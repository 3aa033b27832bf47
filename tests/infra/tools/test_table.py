"""The rows of the table, and what decides whether a kept build is still the right one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

import sealwave.infra.tools
from sealwave.infra.tools.table import TOOLS, Tool, build_arguments, build_key, is_usable

BY_NAME = {tool.name: tool for tool in TOOLS}
MODULES = Path(sealwave.infra.tools.__file__).parent


@pytest.mark.parametrize("tool", TOOLS, ids=BY_NAME)
def test_each_row_is_pinned_by_its_module(tool: Tool) -> None:
    go_mod = (MODULES / tool.module / "go.mod").read_text()
    required = dict(re.findall(r"^\t?(?:require )?(\S+/\S+) v(\S+)", go_mod, re.MULTILINE))
    assert tool.version in {
        version for module, version in required.items() if tool.package.startswith(f"{module}/")
    } | {required.get(tool.package)}
    assert f"tool {tool.package}\n" in go_mod or f"\t{tool.package}\n" in go_mod
    assert (MODULES / tool.module / "go.sum").stat().st_size > 0


@pytest.mark.parametrize(
    ("printed", "usable"),
    [
        ("Kubernetes v1.37.2\n", True),
        ("Kubernetes v1.37.0", True),
        ("Kubernetes v1.38.1+dirty", True),
        ("Kubernetes v1.36.9", False),
        ("Kubernetes v2.0.0", False),
        ("", False),
        ("version one", False),
    ],
)
def test_versions_on_path(printed: str, usable: bool) -> None:
    assert is_usable(BY_NAME["kube-apiserver"], printed) is usable


def test_the_key_follows_every_input_and_not_the_place() -> None:
    tool = BY_NAME["etcd"]
    key = build_key(tool, go_mod=b"m", go_sum=b"s", toolchain="go1.26.8 linux/amd64")
    others = {
        build_key(tool, go_mod=b"M", go_sum=b"s", toolchain="go1.26.8 linux/amd64"),
        build_key(tool, go_mod=b"m", go_sum=b"S", toolchain="go1.26.8 linux/amd64"),
        build_key(tool, go_mod=b"m", go_sum=b"s", toolchain="go1.26.9 linux/amd64"),
        build_key(replace(tool, defines=(("a", "b"),)), go_mod=b"m", go_sum=b"s", toolchain="go1.26.8 linux/amd64"),
        build_key(replace(tool, beside=("x",)), go_mod=b"m", go_sum=b"s", toolchain="go1.26.8 linux/amd64"),
    }
    assert len(others | {key}) == 6
    assert build_key(replace(tool, minutes=9), go_mod=b"m", go_sum=b"s", toolchain="go1.26.8 linux/amd64") == key


def test_the_command_carries_the_version() -> None:
    arguments = build_arguments(BY_NAME["kube-apiserver"], "/out")
    assert arguments[:3] == ["go", "build", "-trimpath"]
    assert "-X k8s.io/component-base/version.gitVersion=v1.37.2" in arguments[4]
    assert arguments[-2:] == ["/out", "k8s.io/kubernetes/cmd/kube-apiserver"]
