"""The real control plane: who may come in, and that nothing of it is left."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from sealwave.infra.errors import ClusterRefused, PortInUse
from sealwave.infra.lab.cluster import Cluster
from sealwave.infra.lab.controlplane import ControlPlane, Ports
from tests.controlplane import running_control_plane, tools_folder

pytestmark = [pytest.mark.tools, pytest.mark.timeout(300)]


def test_only_known_clients_come_in_and_every_process_ends(tmp_path: Path) -> None:
    with running_control_plane(tmp_path) as plane:
        authority = str(plane.pki.certificate("cluster-ca"))
        assert requests.get(plane.url + "/api", verify=authority, timeout=10).status_code == 401
        pki = plane.pki
        driver = Cluster(plane.url, pki.certificate("cluster-ca"), pki.certificate("driver"), pki.key("driver"))
        with pytest.raises(ClusterRefused, match=r'403: .* User "sealwave-driver" cannot list'):
            driver.items("/api/v1/secrets")
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "b"}}
        plane.cluster.apply([config_map, config_map])
        path = "/api/v1/namespaces/default/configmaps/one"
        assert plane.cluster.get(path)["data"] == {"a": "b"}
        plane.cluster.delete(path)
        assert plane.cluster.find(path) is None
        with pytest.raises(PortInUse, match="kube-apiserver"):
            ControlPlane(tmp_path / "other", tools=tools_folder(), ports=plane.ports).start(now=_now())
        listening = subprocess.run(["/usr/bin/pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False)
        assert len(listening.stdout.split()) == 4
    listening = subprocess.run(["/usr/bin/pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False)
    assert listening.stdout == ""


def test_ports_are_different() -> None:
    ports = Ports.choose()
    assert len({ports.api, ports.etcd, ports.etcd_peer}) == 3


def _now() -> datetime:
    return datetime.now(UTC)
