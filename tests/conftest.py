"""Fixtures that more than one room's tests use."""

from collections.abc import Iterator

import pytest

from sealwave.infra.lab.controlplane import ControlPlane
from tests.controlplane import running_control_plane


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One real control plane for the whole run; each test takes names of its own and cleans up what is cluster-wide."""
    with running_control_plane(tmp_path_factory.mktemp("cluster")) as plane:
        yield plane
