"""One control plane for the tests of this folder: the ledger is one per cluster, and theirs must begin empty."""

from collections.abc import Iterator

import pytest

from sealwave.infra.lab.controlplane import ControlPlane
from tests.controlplane import running_control_plane


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane that no other test uses."""
    with running_control_plane(tmp_path_factory.mktemp("cluster")) as running:
        yield running
