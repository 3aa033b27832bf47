"""Finding and building the tools, with stand-ins for the Go toolchain and for programs on PATH."""

from __future__ import annotations

import lzma
import os
from pathlib import Path

import pytest

from sealwave.infra.errors import ToolMissing
from sealwave.infra.settings import Settings
from sealwave.infra.tools import PluginSpoiled, ToolBuildFailed, ensure_plugin, ensure_tools
from sealwave.infra.tools.__main__ import main
from sealwave.infra.tools.plugin import PACKED, PLUGIN
from sealwave.infra.tools.table import TOOLS, Tool

BY_NAME = {tool.name: tool for tool in TOOLS}
ETCD = BY_NAME["etcd"]
PULUMI = (BY_NAME["pulumi"], BY_NAME["pulumi-language-python"])

# Stands for `go`: writes a program that says VERSION, and counts its builds in the file BUILDS.
GO = """#!/bin/sh
case $1 in
env) printf 'go1.26.0\\nlinux\\namd64\\n' ;;
list) echo HERE/module/cmd ;;
build)
    echo "$*" >> HERE/builds
    [ -e HERE/fail ] && { echo 'go: first' >&2; echo 'go: no space left on device' >&2; exit 1; }
    while [ "$1" != -o ]; do shift; done
    printf '#!/bin/sh\\necho v%s\\n' "$(cat HERE/version)" > "$2"; chmod 755 "$2" ;;
esac
"""


class Host:
    """A host whose PATH holds a stand-in for the Go toolchain."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.said: list[str] = []
        for name in ("path", "module"):
            (base / name).mkdir()
        (base / "module" / "pulumi-language-python-exec").write_text("helper")
        self.program("go", GO.replace("HERE", str(base)))
        self.go_builds(ETCD.version)
        self.settings = Settings.from_environment(
            {"SEALWAVE_CACHE": str(base / "cache"), "PATH": f"{base / 'path'}:/usr/bin:/bin"}
        )

    def program(self, name: str, text: str) -> Path:
        path = self.base / "path" / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def go_builds(self, version: str) -> None:
        (self.base / "version").write_text(version)

    @property
    def builds(self) -> int:
        builds = self.base / "builds"
        return len(builds.read_text().splitlines()) if builds.exists() else 0

    def ensure(self, *tools: Tool) -> dict[str, Path]:
        found = ensure_tools(self.settings, self.said.append, tools=tools)
        assert {path.name: path.resolve() for path in found.folder.iterdir()} == {
            name: program.resolve() for name, program in found.programs.items()
        }
        return dict(found.programs)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_missing_tool_is_built_once(host: Host) -> None:
    program = host.ensure(ETCD)["etcd"]
    assert program.is_relative_to(host.settings.tools)
    assert os.access(program, os.X_OK)
    assert host.ensure(ETCD)["etcd"] == program
    assert host.builds == 1
    assert host.said[0] == "etcd 3.7.0: building (about 0.5 min on two cores)"
    assert host.said[1].startswith("etcd 3.7.0: built in")


def test_a_tool_on_path_in_a_usable_version_is_used(host: Host) -> None:
    theirs = host.program("etcd", "#!/bin/sh\necho 'etcd Version: 3.6.4'\n")
    assert host.ensure(ETCD)["etcd"] == theirs
    assert host.builds == 0
    assert host.said == [f"etcd: using {theirs}"]


@pytest.mark.parametrize("text", ["echo 3.5.1", "exit 1", "echo nothing"], ids=["old", "broken", "without version"])
def test_another_on_path_is_not(host: Host, text: str) -> None:
    theirs = host.program("etcd", f"#!/bin/sh\n{text}\n")
    assert host.ensure(ETCD)["etcd"] != theirs
    assert host.builds == 1


def test_our_own_folder_on_path_does_not_count_as_found(host: Host) -> None:
    program = host.ensure(ETCD)["etcd"]
    settings = Settings.from_environment(
        {"SEALWAVE_CACHE": str(host.settings.cache), "PATH": f"{program.parent}:{host.settings.search_path}"}
    )
    assert ensure_tools(settings, host.said.append, tools=(ETCD,)).programs["etcd"] == program
    assert not any("using" in line for line in host.said)


def test_the_language_host_comes_with_its_helper_and_with_its_engine(host: Host) -> None:
    host.go_builds("3.259.0")
    host.program("pulumi-language-python", "#!/bin/sh\n")
    host.program("pulumi-language-python-exec", "theirs")
    programs = host.ensure(*PULUMI)
    assert programs["pulumi-language-python-exec"].read_text() == "helper"
    assert programs["pulumi-language-python-exec"].parent == programs["pulumi-language-python"].parent
    assert host.builds == 2
    host.program("pulumi", "#!/bin/sh\necho v3.300.1\n")
    assert host.ensure(*PULUMI)["pulumi-language-python-exec"].read_text() == "theirs"


def test_a_build_of_another_version_is_refused_and_not_kept(host: Host) -> None:
    host.go_builds("3.7.1")
    with pytest.raises(ToolBuildFailed, match=r"it says that its version is \(3, 7, 1\)"):
        host.ensure(ETCD)
    host.go_builds("3.7.0")
    host.ensure(ETCD)
    assert host.builds == 2


def test_a_failed_build_says_why_and_the_next_one_goes_on(host: Host) -> None:
    (host.base / "fail").touch()
    with pytest.raises(ToolBuildFailed, match=r"no space left on device; the whole output is in .*etcd\.log") as caught:
        host.ensure(ETCD)
    assert "go: first" in caught.value.log.read_text()
    (host.base / "fail").unlink()
    host.ensure(ETCD)
    assert not list(host.settings.tools.glob(".etcd.*"))


def test_without_go_one_sentence_says_how_to_get_it(host: Host) -> None:
    (host.base / "path" / "go").unlink()
    settings = Settings.from_environment({"SEALWAVE_CACHE": str(host.settings.cache), "PATH": str(host.base / "path")})
    with pytest.raises(ToolMissing, match=r"go is missing on this host; install Go 1\.26 or newer"):
        ensure_tools(settings, host.said.append, tools=(ETCD,))


def test_the_plugin_is_unpacked_once(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    environment = {"SEALWAVE_CACHE": str(tmp_path / "cache"), "SEALWAVE_PULUMI_PLUGINS": str(tmp_path / "plugins")}
    settings = Settings.from_environment(environment)
    assert ensure_plugin(settings) is None
    (tmp_path / "plugins" / PACKED).write_bytes(lzma.compress(b"program"))
    folder = ensure_plugin(settings)
    assert folder is not None
    assert (folder / PLUGIN).read_bytes() == b"program"
    assert os.access(folder / PLUGIN, os.X_OK)
    assert ensure_plugin(settings) == folder
    assert ensure_plugin(Settings.from_environment({"SEALWAVE_CACHE": str(tmp_path / "cache")})) is None


@pytest.mark.parametrize("packed", [b"not xz", lzma.compress(b"program" * 9999)[:-40]], ids=["other", "cut"])
def test_a_spoiled_plugin_leaves_nothing(tmp_path: Path, packed: bytes) -> None:
    (tmp_path / PACKED).write_bytes(packed)
    environment = {"SEALWAVE_CACHE": str(tmp_path / "cache"), "SEALWAVE_PULUMI_PLUGINS": str(tmp_path)}
    with pytest.raises(PluginSpoiled, match="copy it anew"):
        ensure_plugin(Settings.from_environment(environment))
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_command_line(host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SEALWAVE_CACHE", str(host.base / "file"))
    (host.base / "file").write_text("")
    assert main(["other"]) == 2
    assert main(["tools"]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors[0] == "sealwave: error: 'other' is neither 'tools' nor 'packages'"
    assert errors[1].startswith("sealwave: error: ")
    assert len(errors) == 2
