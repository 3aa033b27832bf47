"""The one way in which an image build runs a program.

Rules:
1. A program comes from the pinned tools tree, never from the host, so that the host's versions never reach the output.
2. It sees the tools tree, an own /dev, /proc and /tmp, and the paths that its caller names; nothing else.
3. Every named path stands at the same place inside as outside, so that messages and options need no translation.
4. There is no network, no inherited environment and no terminal; time zone and locale are fixed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sealwave.images.errors import HostLacks, ImageError, ToolFailed

OUTPUT_KEPT = 8000
"""Characters of a failed program's output that an error carries: enough for a compiler's or dpkg's last words."""

TOOL_SECONDS = 1800.0
"""Longest run of one program. The slowest measured (unpacking 180 packages) takes 60 s on 2 cores; under emulation
or load it may take many times that, and a hung program must still end."""

_FOLDERS = ("bin", "sbin", "lib", "lib64")
"""Where a merged-/usr system has links into /usr."""


@dataclass(frozen=True)
class Sandbox:
    """Runs programs of one tools tree.

    `tools` is the folder of the tree (it holds usr/ and etc/); `epoch` is the SOURCE_DATE_EPOCH that programs see.
    """

    tools: Path
    epoch: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(
        self,
        arguments: Sequence[str | Path],
        *,
        read: Sequence[Path] = (),
        write: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        privileged: bool = False,
    ) -> list[str]:
        """The whole command line that runs `arguments` inside; pure, so that it can be looked at in tests.

        `read` and `write` are absolute paths that must exist. `privileged` keeps root's capabilities, which only the
        installation of packages needs (chroot, mount, mknod); everything else keeps just the right to read any file.
        """
        line = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
        line += ["--die-with-parent", "--new-session", "--hostname", "sandbox", "--clearenv"]
        variables = {
            "PATH": "/usr/sbin:/usr/bin",
            "HOME": "/tmp",  # noqa: S108 - the sandbox's own, empty /tmp
            "TMPDIR": "/tmp",  # noqa: S108
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "SOURCE_DATE_EPOCH": str(self.epoch),
            "DEBIAN_FRONTEND": "noninteractive",
            **self.environment,
            **(environment or {}),
        }
        for name, value in sorted(variables.items()):
            line += ["--setenv", name, value]
        line += ["--ro-bind", str(self.tools / "usr"), "/usr", "--ro-bind", str(self.tools / "etc"), "/etc"]
        for name in _FOLDERS:
            line += ["--symlink", f"usr/{name}", f"/{name}"]
        line += ["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--dir", "/run", "--dir", "/var/tmp"]  # noqa: S108
        line += ["--dir", "/var/lib/dpkg"]
        if not privileged:
            line += ["--cap-drop", "ALL", "--cap-add", "CAP_DAC_OVERRIDE"]
        for flag, paths in (("--ro-bind", read), ("--dev-bind" if privileged else "--bind", write)):
            for path in paths:
                line += [flag, str(path), str(path)]
        line += ["--chdir", str(folder or "/tmp"), "--"]  # noqa: S108
        return line + [str(argument) for argument in arguments]

    def run(
        self,
        arguments: Sequence[str | Path],
        *,
        read: Sequence[Path] = (),
        write: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        privileged: bool = False,
        stdin: bytes = b"",
        seconds: float = TOOL_SECONDS,
    ) -> bytes:
        """Run a program and return its standard output.

        Raises `ToolFailed` if it ends with an error or takes longer than `seconds`, `HostLacks` without bubblewrap.
        """
        check_host()
        line = self.command(
            arguments, read=read, write=write, environment=environment, folder=folder, privileged=privileged
        )
        return run_program(line, stdin=stdin, seconds=seconds, named=[str(argument) for argument in arguments])


def run_program(
    line: Sequence[str],
    *,
    stdin: bytes = b"",
    seconds: float,
    named: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> bytes:
    """Run one command line to its end and return its standard output; `named` is what an error calls it.

    A program that outlives `seconds`, or whose caller is interrupted, is killed together with what it started.
    """
    shown = list(named or line)
    try:
        process = subprocess.Popen(
            list(line),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if environment is None else dict(environment),
            cwd=folder,
            start_new_session=True,
            umask=0o022,  # a caller's own would show in the modes of files in an image
        )
    except FileNotFoundError as error:
        raise HostLacks(f"the program {line[0]}", "install it and try again") from error
    try:
        output, errors = process.communicate(stdin, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        _kill(process)
        raise ToolFailed(shown, status=-1, output=f"it did not end within {seconds:.0f} s") from error
    except BaseException:
        _kill(process)
        raise
    if process.returncode != 0:
        said = (output[-OUTPUT_KEPT:] + b"\n" + errors[-OUTPUT_KEPT:]).decode("utf-8", "replace")
        raise ToolFailed(shown, status=process.returncode, output=said)
    return output


def check_host() -> None:
    """Refuse early, in one sentence, on a machine where no sandbox can be made."""
    if shutil.which("bwrap") is None:
        raise HostLacks("bubblewrap", "install it with `apt-get install bubblewrap`")
    if os.geteuid() != 0:
        raise HostLacks("root rights for this user", "run the command as root: files of an image belong to root")


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError as error:  # pragma: no cover - only for a setuid child, which we never start
        raise ImageError(f"the program with process id {process.pid} cannot be ended; end it by hand") from error
    process.communicate()
