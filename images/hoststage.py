"""Where pyinfra and testinfra run: programs of the host, shut in with one root tree.

Both are Python programs of the host that act through `chroot TREE sh -c ...`. Here they see this machine read-only and
without network, and the tree at its own place.

1. For pyinfra the tree can be written, and still has the shell that its packages brought.
2. For testinfra the tree is finished and has no shell any more. It gets one in a layer above it (overlayfs): whatever a
   check writes goes to memory, so that nothing of it can be left behind, whatever the check does.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import sealwave
from sealwave.images.sandbox import check_host, run_program

STAGE_SECONDS = 900.0
"""Longest run of all deploys, or of all checks, of one image. Measured: 5 s for the examples'."""

VIEW = Path("/tmp/tree")  # noqa: S108 - in the stage's own, empty /tmp
"""Where a check finds the finished tree."""

_OVERLAY = """set -eu
mkdir /tmp/upper /tmp/work "$VIEW"
mount -t overlay overlay -o "lowerdir=$LAYER:$TREE,upperdir=/tmp/upper,workdir=/tmp/work" "$VIEW"
mount -t proc proc "$VIEW/proc"
mount --rbind /dev "$VIEW/dev"
exec "$@"
"""


def configure_line(tree: Path, folder: Path, arguments: Sequence[str]) -> list[str]:
    """The command line of a Python program of the host that may write `tree`, with `folder` as working folder."""
    line = [*_machine(folder), "--bind", str(tree), str(tree)]
    line += ["--proc", str(tree / "proc"), "--dev", str(tree / "dev"), "--tmpfs", str(tree / "tmp")]
    return [*line, "--chdir", str(folder), "--", sys.executable, *arguments]


def check_line(tree: Path, folder: Path, arguments: Sequence[str], *, layer: Path) -> list[str]:
    """The same for a program that looks at a finished tree at `VIEW`; `layer` holds usr/bin/sh and nothing else."""
    line = [*_machine(folder), "--ro-bind", str(tree), str(tree), "--ro-bind", str(layer), str(layer)]
    line += ["--setenv", "TREE", str(tree), "--setenv", "LAYER", str(layer), "--setenv", "VIEW", str(VIEW)]
    return [*line, "--chdir", str(folder), "--", "/bin/sh", "-c", _OVERLAY, "stage", sys.executable, *arguments]


def run_stage(line: Sequence[str], *, named: Sequence[str]) -> bytes:
    """Run one of the two and return what it printed. Raises `ToolFailed` and `HostLacks`."""
    check_host()
    return run_program(line, seconds=STAGE_SECONDS, named=named)


def _machine(folder: Path) -> list[str]:
    line = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--die-with-parent"]
    line += ["--new-session", "--hostname", "stage", "--clearenv"]
    for name, value in _environment().items():
        line += ["--setenv", name, value]
    line += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]  # noqa: S108
    # Python and this package may themselves stand below /tmp, which was just covered.
    houses = {Path(sys.prefix), Path(sys.base_prefix), *(Path(place).resolve().parent for place in sealwave.__path__)}
    for house in sorted(houses):
        line += ["--ro-bind", str(house), str(house)]
    return [*line, "--ro-bind", str(folder), str(folder)]


def _environment() -> Mapping[str, str]:
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/tmp",  # noqa: S108
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONDONTWRITEBYTECODE": "1",
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }
