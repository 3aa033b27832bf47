"""A call of Pulumi that somebody is going to kill: it writes to its log, and its processes are known."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from sealwave.infra.errors import StepFailed
from sealwave.infra.lab.children import tail

__all__ = ["StartedRun", "descendants"]


class StartedRun:
    """Pulumi's CLI with the plugins that it started."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self.log = log

    def newest(self) -> str:
        """The last line that it printed."""
        return tail(self.log)

    def require_running(self) -> None:
        """Raise StepFailed when it ended by itself."""
        code = self._process.poll()
        if code is not None:
            raise StepFailed("pulumi", f"it ended with {code} before it was killed: {self.newest()}", self.log)

    def kill_all(self) -> None:
        """SIGKILL for the CLI and everything that it started; nothing of it can still write a word."""
        # Looked up first: what outlives its parent has another one.
        for process in [self._process.pid, *descendants(self._process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait()


def descendants(process: int) -> list[int]:
    """Every process that this one started, directly or not; plugins have process groups of their own."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            # The name, in brackets, may hold spaces: what follows the last bracket is state, parent, ...
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    todo = [process]
    while todo:
        new = children.get(todo.pop(), [])
        found += new
        todo += new
    return found
