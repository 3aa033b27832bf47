"""Fixtures that more than one room's tests use, and the settings of the whole run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from sealwave.infra.lab.controlplane import ControlPlane
from sealwave.infra.settings import Settings
from sealwave.infra.tools import ensure_plugin, ensure_tools
from sealwave.signing.keys import LabKeys
from tests.controlplane import running_control_plane

pytest_plugins = ["tests.machine_rule"]

# One profile for every property test: no deadline (machines run beside us), and a failure anyone can repeat.
hypothesis_settings.register_profile("sealwave", deadline=None, max_examples=100, derandomize=True, print_blob=True)
hypothesis_settings.load_profile("sealwave")


@pytest.fixture(scope="session")
def tools() -> Path:
    """The folder with Pulumi, etcd and the control plane; it and the plugin's folder are put on PATH."""
    settings = Settings.from_environment()
    folder = ensure_tools(settings, print).folder
    plugin = ensure_plugin(settings)
    known = os.environ["PATH"].split(os.pathsep)
    new = [str(path) for path in (folder, plugin) if path is not None and str(path) not in known]
    os.environ["PATH"] = os.pathsep.join([*new, *known])
    return folder


@pytest.fixture(scope="session")
def lab_keys(tmp_path_factory: pytest.TempPathFactory) -> LabKeys:
    """One set of keys for tests that only read it."""
    return LabKeys.ensure(tmp_path_factory.mktemp("lab") / "keys", now=datetime.now(UTC))


@pytest.fixture(scope="session")
def control_plane(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One real control plane for the whole run; each test takes names of its own and cleans up what is cluster-wide."""
    with running_control_plane(tmp_path_factory.mktemp("cluster")) as plane:
        yield plane
