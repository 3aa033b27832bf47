"""Which tools, in which versions, built how: one row each, and the key under which the result is kept.

Pure: nothing here runs a program or reads a file.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

__all__ = ["BUILD_ENVIRONMENT", "TOOLS", "Tool", "build_arguments", "build_key", "is_usable", "version_in"]

_KUBERNETES = "1.37.2"
_ETCD = "3.7.0"
_PULUMI = "3.259.0"

# Fixed for every build, so that a user's own settings cannot change the result; where modules come from is the user's.
BUILD_ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}

_VERSION = re.compile(r"\bv?(\d+)\.(\d+)\.(\d+)\b")


@dataclass(frozen=True)
class Tool:
    """One program, and how to get it.

    `module` is the folder under infra/tools/ with its go.mod. `version_arguments` make the program say its version;
    empty when it cannot. `oldest` is the first version on PATH that serves in place of ours. `beside` are files of the
    package's parent folder that the program wants next to it. `with_tool` names the tool that this one comes with: it
    is taken from PATH only when that one is. `minutes` is what a build on two cores takes from an empty cache.
    """

    name: str
    module: str
    package: str
    version: str
    oldest: tuple[int, int, int]
    version_arguments: tuple[str, ...] = ()
    defines: tuple[tuple[str, str], ...] = ()
    beside: tuple[str, ...] = ()
    with_tool: str | None = None
    minutes: float = 0.5


def _kubernetes(name: str, minutes: float) -> Tool:
    major, minor, _ = _KUBERNETES.split(".")
    version = "k8s.io/component-base/version"
    return Tool(
        name=name,
        module="kubernetes",
        package=f"k8s.io/kubernetes/cmd/{name}",
        version=_KUBERNETES,
        # A kubelet may not be newer than its API server, and ours is built from the same module.
        oldest=(int(major), int(minor), 0),
        version_arguments=("--version",),
        defines=(
            (f"{version}.gitVersion", f"v{_KUBERNETES}"),
            (f"{version}.gitMajor", major),
            (f"{version}.gitMinor", minor),
        ),
        minutes=minutes,
    )


TOOLS: tuple[Tool, ...] = (
    Tool(
        name="pulumi",
        module="pulumi",
        package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
        version=_PULUMI,
        # The first whose provider protocol the pinned Python SDK speaks.
        oldest=(3, 259, 0),
        version_arguments=("version",),
        defines=(("github.com/pulumi/pulumi/sdk/v3/go/common/version.Version", f"v{_PULUMI}"),),
        minutes=3.5,
    ),
    Tool(
        name="pulumi-language-python",
        module="pulumi-python",
        package="github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python",
        # The last SDK modules that hold the language host have older numbers; it works with the CLI above.
        version="3.40.0",
        oldest=(3, 40, 0),
        beside=("pulumi-language-python-exec",),
        with_tool="pulumi",
    ),
    Tool(
        name="etcd",
        module="etcd",
        package="go.etcd.io/etcd/server/v3",
        version=_ETCD,
        # kube-apiserver 1.37 is tested with 3.6 and newer.
        oldest=(3, 6, 0),
        version_arguments=("--version",),
    ),
    _kubernetes("kube-apiserver", 4.4),
    _kubernetes("kube-controller-manager", 1.8),
    _kubernetes("kube-scheduler", 0.2),
)


def build_arguments(tool: Tool, output: str) -> list[str]:
    """The command that builds `tool` into `output`, run in the module's folder."""
    defines = [f"-X {name}={value}" for name, value in tool.defines]
    flags = " ".join(["-s", "-w", *defines])
    return ["go", "build", "-trimpath", "-ldflags", flags, "-o", output, tool.package]


def build_key(tool: Tool, *, go_mod: bytes, go_sum: bytes, toolchain: str) -> str:
    """The name of the build's result: everything that decides what comes out, and nothing else.

    The command line and its environment stand for our own step: when they stay, so does the program.
    """
    inputs = {
        "arguments": build_arguments(tool, ""),
        "beside": tool.beside,
        "environment": BUILD_ENVIRONMENT,
        "go.mod": hashlib.sha256(go_mod).hexdigest(),
        "go.sum": hashlib.sha256(go_sum).hexdigest(),
        "toolchain": toolchain,
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:32]


def version_in(text: str) -> tuple[int, int, int] | None:
    """The first version number in what a program printed."""
    found = _VERSION.search(text)
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]))


def is_usable(tool: Tool, printed: str) -> bool:
    """Whether a program on PATH that says this about itself serves in place of ours: new enough, same major number."""
    version = version_in(printed)
    return version is not None and version >= tool.oldest and version[0] == tool.oldest[0]
