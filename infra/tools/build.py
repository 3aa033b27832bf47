"""Finds the tools on PATH or builds them, and puts them together in one folder.

1. A tool on PATH in a usable version is taken; what lies in our own cache does not count as found.
2. Another is built in a temporary folder of the cache, asked for its version, and takes its name in one rename: a build
   that was killed leaves nothing that looks finished, and the Go toolchain's own cache makes the next one short.
3. All end up as links in one folder, whose key is what they link to: a changed tool gives a new folder, and a process
   that runs from the old one is not disturbed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sealwave.infra.errors import ToolMissing
from sealwave.infra.settings import Settings
from sealwave.infra.tools.errors import ToolBuildFailed
from sealwave.infra.tools.table import BUILD_ENVIRONMENT, TOOLS, Tool, build_arguments, build_key, is_usable, version_in
from sealwave.signing.files import sync_folder

__all__ = ["HostTools", "Report", "ensure_tools"]

# Told one line at a time what is going on.
Report = Callable[[str], None]

_MODULES = Path(__file__).resolve().parent
# Seconds until a program that is asked for its version counts as broken.
_VERSION_SECONDS = 20
# Seconds. Ten times what the slowest tool takes on two cores.
_BUILD_SECONDS = 3600


@dataclass(frozen=True)
class HostTools:
    """The folder to put first on PATH, and for each tool the program that its name in there stands for."""

    folder: Path
    programs: Mapping[str, Path]


def ensure_tools(settings: Settings, report: Report, *, tools: tuple[Tool, ...] = TOOLS) -> HostTools:
    """Every tool, found or built.

    Raises ToolMissing without a Go toolchain where one is needed, ToolBuildFailed when a build fails, OSError when the
    cache cannot be written.
    """
    settings.tools.mkdir(parents=True, exist_ok=True)
    with _locked(settings.tools):
        programs: dict[str, Path] = {}
        for tool in tools:
            found = _on_path(tool, settings, programs)
            program = found or _built(tool, settings, report)
            programs[tool.name] = program
            for name in tool.beside:
                programs[name] = program.parent / name
            if found:
                report(f"{tool.name}: using {found}")
        return HostTools(_link(settings.tools, programs), programs)


def _on_path(tool: Tool, settings: Settings, chosen: Mapping[str, Path]) -> Path | None:
    folders = [folder for folder in settings.search_path.split(os.pathsep) if folder]
    outside = [folder for folder in folders if not Path(folder).resolve().is_relative_to(settings.cache.resolve())]
    found = shutil.which(tool.name, path=os.pathsep.join(outside))
    if found is None:
        return None
    program = Path(found).absolute()
    if any(not (program.parent / name).exists() for name in tool.beside):
        return None
    if tool.with_tool is not None and chosen[tool.with_tool].is_relative_to(settings.tools):
        return None
    if not tool.version_arguments:
        return program
    return program if is_usable(tool, _version_of(program, tool, settings)) else None


def _version_of(program: Path, tool: Tool, settings: Settings) -> str:
    """What the program prints when asked for its version; nothing when it cannot be run."""
    try:
        answer = subprocess.run(
            [program, *tool.version_arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_SECONDS,
            stdin=subprocess.DEVNULL,
            env=_environment(settings) | {"PULUMI_SKIP_UPDATE_CHECK": "true"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout


def _built(tool: Tool, settings: Settings, report: Report) -> Path:
    cache, module = settings.tools, _MODULES / tool.module
    go_mod, go_sum = ((module / name).read_bytes() for name in ("go.mod", "go.sum"))
    key = build_key(tool, go_mod=go_mod, go_sum=go_sum, toolchain=_toolchain(module, settings))
    program = cache / key / "bin" / tool.name
    if program.exists():
        return program
    report(f"{tool.name} {tool.version}: building (about {tool.minutes:g} min on two cores)")
    started = time.monotonic()
    for abandoned in cache.glob(f".{tool.name}.*"):
        shutil.rmtree(abandoned)
    workplace = Path(tempfile.mkdtemp(prefix=f".{tool.name}.", dir=cache))
    (workplace / "bin").mkdir()
    log = cache / f"{tool.name}.log"
    _build(tool, module, workplace / "bin", log, settings)
    # mkdtemp closes the folder to others; the tools in it are no secret.
    workplace.chmod(0o755)
    shutil.rmtree(cache / key, ignore_errors=True)
    workplace.replace(cache / key)
    sync_folder(cache)
    report(f"{tool.name} {tool.version}: built in {time.monotonic() - started:.0f} s")
    return program


def _build(tool: Tool, module: Path, output: Path, log: Path, settings: Settings) -> None:
    program = output / tool.name
    _go(tool.name, build_arguments(tool, str(program)), module, log, settings)
    if tool.version_arguments:
        said = version_in(_version_of(program, tool, settings))
        wanted = version_in(tool.version)
        if said != wanted:
            raise ToolBuildFailed(tool.name, f"it says that its version is {said} and not {wanted}", log)
    for name in tool.beside:
        listed = _go(tool.name, ["go", "list", "-f", "{{.Dir}}", tool.package], module, log, settings)
        source = Path(listed.strip()).parent / name
        try:
            content = source.read_bytes()
        except OSError as error:
            raise ToolBuildFailed(tool.name, f"{name} is not in its module", log) from error
        (output / name).write_bytes(content)
        (output / name).chmod(0o755)
    for path in output.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    sync_folder(output)


def _go(name: str, arguments: list[str], module: Path, log: Path, settings: Settings) -> str:
    """Run the Go toolchain in a module's folder and give its standard output; its complaints go to the log."""
    try:
        with log.open("wb") as errors:
            done = subprocess.run(
                arguments,
                cwd=module,
                env=_environment(settings) | BUILD_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                timeout=_BUILD_SECONDS,
            )
    except FileNotFoundError as error:
        raise ToolMissing("go", "install Go 1.26 or newer (go.dev/doc/install) and put it on PATH") from error
    except subprocess.TimeoutExpired as error:
        raise ToolBuildFailed(name, f"it was not done after {_BUILD_SECONDS} s", log) from error
    if done.returncode != 0:
        lines = log.read_text(errors="replace").strip().splitlines() or [f"go ended with {done.returncode}"]
        raise ToolBuildFailed(name, lines[-1], log)
    return done.stdout.decode()


def _toolchain(module: Path, settings: Settings) -> str:
    """The Go toolchain that this module selects, for example `go1.26.8 linux/amd64`."""
    log = Path(os.devnull)
    version, system, machine = _go("go", ["go", "env", "GOVERSION", "GOOS", "GOARCH"], module, log, settings).split()
    return f"{version} {system}/{machine}"


def _environment(settings: Settings) -> dict[str, str]:
    return dict(os.environ) | {"PATH": settings.search_path}


def _link(cache: Path, programs: Mapping[str, Path]) -> Path:
    """The folder of links for exactly these programs."""
    names = "\n".join(f"{name} {program}" for name, program in sorted(programs.items()))
    folder = cache / hashlib.sha256(names.encode()).hexdigest()[:32] / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    for name, program in programs.items():
        link = folder / name
        if not link.is_symlink() or link.readlink() != program:
            link.unlink(missing_ok=True)
            link.symlink_to(program)
    return folder


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """One build at a time: a second process waits and then finds everything done."""
    descriptor = os.open(cache / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
