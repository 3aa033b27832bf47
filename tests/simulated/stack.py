"""The real Pulumi CLI on the reference program, with a state of its own in a folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.controlplane import tools_folder

PROGRAM = Path(__file__).resolve().parents[2] / "infra" / "program"
RUN_SECONDS = 150.0
"""No command of these tests takes half as long on two idle cores."""

NAME = "test"


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    output: str

    def require(self, code: int = 0) -> str:
        assert self.code == code, f"pulumi ended with {self.code} and said:\n{self.output}"
        return self.output


class Stack:
    """A copy of the reference program with one stack, file backend, no passphrase."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "program"
        self.home = folder / "home"
        self.temporary = folder / "tmp"
        shutil.copytree(PROGRAM, self.program, ignore=shutil.ignore_patterns("Pulumi.*.yaml", "__pycache__"))
        for path in (self.home, self.temporary, folder / "state"):
            path.mkdir()
        self.pulumi = str(tools_folder() / "pulumi")
        self._run("stack", "init", NAME).require()

    @property
    def settings(self) -> Path:
        """The stack's configuration file."""
        return self.program / f"Pulumi.{NAME}.yaml"

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Write the stack's configuration, by names without `sealwave:`; what was there before is replaced."""
        yaml = YAML()
        document = yaml.load(self.settings.read_text()) if self.settings.exists() else {}
        document["config"] = {f"sealwave:{key}": value for key, value in settings.items()}
        with self.settings.open("w") as stream:
            yaml.dump(document, stream)

    def run(self, *arguments: str) -> Ran:
        """Run one command on the stack to its end."""
        return self._run(*arguments, "--stack", NAME)

    def _run(self, *arguments: str) -> Ran:
        ran = subprocess.run(
            [self.pulumi, *arguments, "--non-interactive"],
            cwd=self.program,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_SECONDS,
        )
        return Ran(ran.returncode, ran.stdout)

    def up(self, *arguments: str) -> Ran:
        return self.run("up", "--yes", "--skip-preview", *arguments)

    def preview(self) -> Ran:
        return self.run("preview", "--diff")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command whose end is the caller's business; its output goes to `log`."""
        with self.log.open("w") as stream:
            return subprocess.Popen(
                [self.pulumi, *arguments, "--stack", NAME, "--non-interactive"],
                cwd=self.program,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                text=True,
                # All that it starts stays in its session, also when it is killed and its children become orphans.
                start_new_session=True,
            )

    def end_session(self, cli: subprocess.Popen[str]) -> None:
        """End what a killed CLI has left behind, such as the program and its language host."""
        for process in _processes():
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(process) == cli.pid:
                    os.kill(process, signal.SIGKILL)

    @property
    def log(self) -> Path:
        """The output of the command that was started last."""
        return self.folder / "output.log"

    def forget_working_files(self) -> None:
        """Delete everything that is not the state, the configuration or the credentials."""
        for path in (self.home, self.temporary):
            shutil.rmtree(path)
            path.mkdir()

    def environment(self) -> dict[str, str]:
        """What the CLI and its plugins may see."""
        # Pulumi's language host takes the first python of PATH; the provider's executable is beside ours.
        path = [Path(sys.executable).parent, tools_folder()]
        plugin = shutil.which("pulumi-resource-kubernetes")
        path += [Path(plugin).parent] if plugin else []
        return {
            "PATH": os.pathsep.join([*map(str, path), "/usr/bin", "/bin"]),
            "HOME": str(self.folder),
            "TMPDIR": str(self.temporary),
            "PULUMI_HOME": str(self.home),
            "PULUMI_BACKEND_URL": f"file://{self.folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "1",
        }

    def provider_of(self, cli: subprocess.Popen[str]) -> int:
        """The process id of the provider that a running CLI has started."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for process in children_of(cli.pid):
                if "pulumi-resource-sealwave" in command_of(process):
                    return process
            time.sleep(0.05)
        raise AssertionError("the CLI has started no provider")


def children_of(process: int) -> list[int]:
    """The direct children of a process."""
    return [child for child in _processes() if _parent_of(child) == process]


def _parent_of(process: int) -> int:
    try:
        return int((Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _processes() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal()]


def command_of(process: int) -> str:
    """The command line of a process; empty when it is gone."""
    try:
        return (Path("/proc") / str(process) / "cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def wait_gone(process: int, *, limit: float) -> None:
    """Wait until a process that is not our child has ended."""
    deadline = time.monotonic() + limit
    while command_of(process):
        assert time.monotonic() < deadline, f"process {process} still runs after {limit} s: {command_of(process)}"
        time.sleep(0.05)
