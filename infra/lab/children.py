"""Programs that the lab starts, and that end with it.

Rules:
1. A child ends when the thread that started it ends, also when that is killed: the kernel sends it SIGKILL
   (`PR_SET_PDEATHSIG`, set by util-linux's setpriv). So start children from the main thread only.
2. A child has a session of its own: Ctrl-C in the terminal reaches the lab, which decides what ends first.
3. Everything that a child prints goes to its log, 0600.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from sealwave.infra.errors import ChildEnded, ToolMissing

__all__ = ["Child", "stop_all", "tail"]

SETPRIV = "/usr/bin/setpriv"
# Bytes of a log that are read to find its last line.
TAIL = 4096


class Child:
    """One running program with its log."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it in `folder`; raises ToolMissing when the program is not there."""
        self.name = name
        self.log = log
        program = Path(argv[0])
        if not program.is_file():
            raise ToolMissing(str(program), "run `make tools`, or install it and put it on PATH")
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as output:
            self._process = subprocess.Popen(
                [SETPRIV, "--pdeathsig", "KILL", "--", *map(str, argv)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=None if environment is None else dict(environment),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def require_running(self) -> None:
        """Raise ChildEnded, with the last line that it printed, when it ended by itself."""
        code = self._process.poll()
        if code is not None:
            raise ChildEnded(self.name, code, self.log, tail(self.log))

    def ask_to_end(self) -> None:
        """Send SIGTERM and return at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def end(self, *, limit: float) -> None:
        """Wait `limit` seconds for it to end, then kill it and what it started."""
        try:
            self._process.wait(limit)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def stop_all(children: Sequence[Child], *, limit: float) -> None:
    """End these, the last started first; each has `limit` seconds before it is killed."""
    for child in reversed(children):
        child.ask_to_end()
        child.end(limit=limit)


def tail(log: Path) -> str:
    """The last line of a log that is not empty, cut to what fits in a sentence."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - TAIL))
            lines = stream.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    filled = [line.strip() for line in lines if line.strip()]
    return filled[-1][:300] if filled else ""
