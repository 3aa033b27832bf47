"""The real tools: each says the version that the table wants, and the language host finds its helper."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sealwave.infra.tools import TOOLS, Tool
from sealwave.infra.tools.table import is_usable

pytestmark = pytest.mark.tools


@pytest.mark.parametrize("tool", [tool for tool in TOOLS if tool.version_arguments], ids=lambda tool: str(tool.name))
def test_version(tools: Path, tool: Tool) -> None:
    said = subprocess.run([tools / tool.name, *tool.version_arguments], check=True, capture_output=True, text=True)
    assert is_usable(tool, said.stdout)


def test_the_language_host_finds_its_helper(tools: Path) -> None:
    host = subprocess.Popen([tools / "pulumi-language-python"], stdout=subprocess.PIPE, text=True)
    with host:
        assert host.stdout is not None
        # Without its helper it ends with an error; with it, it says the port that it serves.
        port = host.stdout.readline()
        host.kill()
    assert port.strip().isdecimal()
