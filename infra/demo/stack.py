"""Pulumi, run as a user runs it: the reference program, a file backend, everything that it keeps in one folder.

Rules:
1. The passphrase is in a file (0600), never in the environment or an argument.
2. Each run's whole output is kept in a log; the newest line of it is shown while it runs.
3. Ctrl-C reaches Pulumi first, so that the rollout comes to its safe hold; who waits too long has it killed with all
   of its plugins.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sealwave.infra.demo.background import StartedRun
from sealwave.infra.errors import StepFailed, ToolMissing
from sealwave.infra.progress import Progress
from sealwave.signing.files import PRIVATE_FILE, make_private_folder, write_atomic

__all__ = ["PROGRAM", "Run", "Stack", "last_line", "worth_showing"]

PROGRAM = Path(__file__).resolve().parents[1] / "program"
NAME = "lab"
# Seconds from the first Ctrl-C to the kill; the driver comes to its hold within 20.
HOLD_LIMIT = 45.0
# Escape sequences and Pulumi's own decoration at the start of a line.
DECORATION = re.compile(r"\x1b\[[0-9;]*m|^[\s@+~^*.\-]+")
SAME_EACH_TIME = re.compile(r"^updating\.+$|from \$PATH at|is expected to have version|^Updating \(|^Previewing ")
OWN_WORDS = re.compile(r"^sealwave:index:\w+ \S+ .*?\(\d+s\)( \[diff: [^]]*\])?; (?P<words>.+)$")
# Environment that is passed on: where programs are and what a terminal needs, nothing else that could change the run.
PASSED_ON = ("HOME", "LANG", "LC_ALL", "TMPDIR", "SEALWAVE_CACHE")


@dataclass(frozen=True)
class Run:
    """One finished call of Pulumi."""

    code: int
    output: str
    log: Path


class Stack:
    """The reference program's stack in `folder`."""

    def __init__(self, folder: Path, *, search: Sequence[Path], logs: Path) -> None:
        """`search` are the folders of pulumi, its language host and plugins."""
        self._folder = folder
        self._logs = logs
        self._count = 0
        # The environment's programs come first: Pulumi's language host starts `python` from PATH.
        scripts = Path(sysconfig.get_path("scripts"))
        self._path = os.pathsep.join(map(str, [scripts, *search, "/usr/bin", "/bin"]))

    @property
    def project(self) -> Path:
        """The program's copy; the stack's settings lie beside it."""
        return self._folder / "program"

    @property
    def environment(self) -> Mapping[str, str]:
        """What a person has to set to use the same stack by hand."""
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return passed | {
            "PATH": self._path,
            "PULUMI_HOME": str(self._folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{self._folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self._folder / "passphrase"),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            # What is not on PATH is not looked for elsewhere: the lab needs no network.
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

    def prepare(self) -> None:
        """Make folder, passphrase and stack; an existing stack is kept."""
        for folder in (self._folder, self._folder / "state", self._folder / "home"):
            make_private_folder(folder)
        passphrase = self._folder / "passphrase"
        if not passphrase.exists():
            write_atomic(passphrase, secrets.token_urlsafe(32).encode(), mode=PRIVATE_FILE)
        shutil.copytree(PROGRAM, self.project, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        run = self.run("stack", "select", NAME, "--create")
        if run.code != 0:
            raise StepFailed("pulumi stack select", last_line(run.output), run.log)

    def configure(self, values: Mapping[str, Any]) -> None:
        """Set the program's configuration; keys are written `sealwave:KEY`."""
        path = self.project / f"Pulumi.{NAME}.yaml"
        yaml = YAML(typ="safe")
        document: dict[str, Any] = (yaml.load(path.read_text()) if path.exists() else None) or {}
        document["config"] = {f"sealwave:{key}": value for key, value in values.items()}
        with path.open("w") as stream:
            yaml.dump(document, stream)

    def run(self, *arguments: str, progress: Progress | None = None) -> Run:
        """Call Pulumi and wait for its end; its exit status is the caller's to judge."""
        log = self._next_log(arguments[0])
        process = self._start(arguments, subprocess.PIPE)
        try:
            output = _follow(process, log, progress)
        except BaseException:
            _interrupt(process)
            raise
        return Run(process.wait(), output, log)

    def start(self, *arguments: str) -> StartedRun:
        """Call Pulumi and return at once."""
        log = self._next_log(arguments[0])
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
        with os.fdopen(descriptor, "wb") as output:
            return StartedRun(self._start(arguments, output.fileno()), log)

    def forget_working_files(self) -> None:
        """Delete what a host may lose: Pulumi's home and the program's copy. State, passphrase and settings stay."""
        shutil.rmtree(self._folder / "home", ignore_errors=True)
        settings = self.project / f"Pulumi.{NAME}.yaml"
        kept = settings.read_bytes()
        shutil.rmtree(self.project)
        shutil.copytree(PROGRAM, self.project, ignore=shutil.ignore_patterns("__pycache__"))
        write_atomic(settings, kept)

    def _next_log(self, command: str) -> Path:
        self._count += 1
        make_private_folder(self._logs)
        return self._logs / f"pulumi-{self._count:02d}-{command}.log"

    def _start(self, arguments: Sequence[str], output: int) -> subprocess.Popen[bytes]:
        program = shutil.which("pulumi", path=self._path)
        if program is None:
            raise ToolMissing("pulumi", "run `make tools`, or install it and put it on PATH")
        return subprocess.Popen(
            [program, *arguments, "--non-interactive", "--color=never"],
            cwd=self.project,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C comes to us; we hand it on once, and wait.
            start_new_session=True,
        )


def _follow(process: subprocess.Popen[bytes], log: Path, progress: Progress | None) -> str:
    assert process.stdout is not None
    lines: list[str] = []
    told = False
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
    with os.fdopen(descriptor, "w") as kept, process.stdout:
        for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            kept.write(line + "\n")
            kept.flush()
            lines.append(line)
            shown = worth_showing(line)
            # What follows tells everything once more.
            told = told or line.strip() in ("Diagnostics:", "Outputs:")
            if not told and progress is not None and shown:
                progress.note(shown)
    return "\n".join(lines)


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """Let Pulumi come to its hold; then end whatever of it is left."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        process.wait(HOLD_LIMIT)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def worth_showing(line: str) -> str:
    """What of a line of Pulumi's a person wants to see while it runs; empty when nothing.

    A provider's own words come behind the resource's name and state; what Pulumi says of plugins is the same each time.
    """
    plain = DECORATION.sub("", line)
    if SAME_EACH_TIME.search(plain):
        return ""
    resource = OWN_WORDS.match(plain)
    return resource["words"] if resource else plain


def last_line(output: str) -> str:
    """The last line that says something."""
    lines = [DECORATION.sub("", line) for line in output.splitlines()]
    return next((line for line in reversed(lines) if line), f"it says nothing ({sys.platform})")
