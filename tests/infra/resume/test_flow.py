"""The whole flow under the real Pulumi CLI, on simulated machines and the real API server."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sealwave.infra.cli.__main__ import main
from sealwave.infra.components import addon
from sealwave.infra.lab.controlplane import ControlPlane
from tests.simulated.cluster import workload
from tests.simulated.fleet import SimulatedFleet

pytestmark = [
    pytest.mark.tools,
    pytest.mark.timeout(420),
    # A client that is killed, and a machine that reboots, leave TLS connections without a goodbye: that is the test.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

# As an older `lab up` has left it.
ROLE: dict[str, Any] = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "sealwave-driver"},
    "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}],
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, plane: ControlPlane) -> Iterator[SimulatedFleet]:
    with SimulatedFleet(tmp_path_factory.mktemp("fleet"), plane, nodes=3) as running:
        # Six pods of which five must run: a node with two of them cannot be drained at one go.
        plane.cluster.apply(workload("service", replicas=6, available=5))
        yield running


def test_a_preview_without_the_addon_plans_from_an_empty_ledger(fleet: SimulatedFleet) -> None:
    fleet.want("v2", addon=False)
    (fleet.credentials / "kubeconfig").write_bytes(fleet.plane.admin_kubeconfig.read_bytes())
    output = fleet.stack.preview().require()
    assert "wave 1 of 2: workers-1" in output
    assert "wave 2 of 2: workers-2, workers-3" in output
    (fleet.credentials / "kubeconfig").write_bytes(fleet.plane.driver_kubeconfig.read_bytes())


def test_the_first_up_installs_the_addon_and_touches_no_node(fleet: SimulatedFleet) -> None:
    fleet.want("v1")
    fleet.plane.cluster.apply([ROLE])
    fleet.stack.up().require()
    assert fleet.boots() == [1, 1, 1]
    assert fleet.cordoned() == []
    assert [node["metadata"].get("annotations", {}).get("sealwave.dev/owner") for node in fleet.nodes()] == [None] * 3


def test_a_newer_addon_takes_over_what_another_manager_wrote(fleet: SimulatedFleet, tmp_path: Path) -> None:
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/sealwave-driver"
    rules = fleet.plane.cluster.get(path)["rules"]
    fleet.plane.cluster.apply([{**ROLE, "rules": rules}])
    newer = shutil.copytree(addon._MANIFESTS, tmp_path / "addon")
    rights = newer / "20-rights.yaml"
    rights.write_text(rights.read_text().replace("resources: [nodes]", "resources: [nodes, nodes/status]"))
    program = fleet.stack.program / "__main__.py"
    text = program.read_text()
    program.write_text(
        "import pathlib\nfrom sealwave.infra.components import addon\n"
        f"addon._MANIFESTS = pathlib.Path({str(newer)!r})\n"
        + text.replace("addon = ClusterAddon", "installed = ClusterAddon").replace("[addon]", "[installed]")
    )
    fleet.stack.up().require()
    assert fleet.plane.cluster.get(path)["rules"] != rules
    program.write_text(text)
    fleet.stack.up().require()
    assert fleet.plane.cluster.get(path)["rules"] == rules


def test_the_second_up_reads_every_node_and_changes_nothing(fleet: SimulatedFleet) -> None:
    output = fleet.stack.run("up", "--yes", "--skip-preview", "--expect-no-changes").require()
    assert "looked at 3 of the 3 nodes" in output


def test_the_preview_of_v2_shows_the_waves_and_touches_nothing(fleet: SimulatedFleet) -> None:
    fleet.want("v2")
    output = fleet.stack.preview().require()
    assert "wave 1 of 2: workers-1" in output
    assert "wave 2 of 2: workers-2, workers-3" in output
    assert fleet.boots() == [1, 1, 1]


def test_v2_rolls_and_an_eviction_is_refused_by_the_budget_and_later_granted(fleet: SimulatedFleet) -> None:
    output = fleet.stack.up().require()
    assert fleet.digests() == [fleet.images["v2"].digest] * 3
    assert fleet.cordoned() == []
    assert all(machine.platform.boot_choice().default is machine.platform.running().slot for machine in fleet.machines)
    assert "disruption budget" in output
    fleet.stack.run("up", "--yes", "--skip-preview", "--expect-no-changes").require()


def test_refresh_and_up_report_a_node_that_drifted_away(fleet: SimulatedFleet) -> None:
    machine = fleet.machines[2]
    machine.drifted = ("/etc/motd",)
    output = fleet.stack.preview().require()
    assert "workers-3 has drifted" in output
    # Pulumi shows a refreshed resource by its changed outputs.
    refreshed = fleet.stack.run("refresh", "--yes", "--diff").require()
    assert "has drifted: /etc/motd" in refreshed
    machine.drifted = ()
    fleet.stack.run("refresh", "--yes").require()


def test_a_broken_v3_halts_with_one_paragraph_and_spares_the_other_nodes(fleet: SimulatedFleet) -> None:
    fleet.want("v3")
    before = fleet.boots()
    output = fleet.stack.up().require(1)
    assert "Traceback" not in output and 'File "' not in output
    assert "workers-1" in output and "halted" in output
    assert fleet.digests() == [fleet.images["v2"].digest] * 3
    assert fleet.boots()[1:] == before[1:]
    assert fleet.cordoned() == ["workers-1"]


def test_the_digest_is_refused_until_a_person_releases_it(fleet: SimulatedFleet) -> None:
    output = fleet.stack.up().require(1)
    assert "is refused" in output and "release-digest" in output
    assert fleet.boots()[1] == 2


def test_a_person_releases_the_digest_by_the_command_line(
    fleet: SimulatedFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = fleet.images["v3"].digest
    options = ["--credentials", str(fleet.credentials)]
    assert main(["rollout", "status", str(fleet.stack.settings), *options]) == 0
    shown = capsys.readouterr().out
    assert "quarantined" in shown and f"refused: {digest}" in shown
    assert main(["rollout", "plan", str(fleet.stack.settings), *options]) == 1
    assert "is refused" in capsys.readouterr().err
    assert main(["rollout", "release-digest", digest, "--reason", "the kubelet was fixed", *options]) == 0
    capsys.readouterr()
    assert main(["rollout", "plan", str(fleet.stack.settings), *options]) == 0
    assert "workers-1" in capsys.readouterr().out
    assert any("the kubelet was fixed" in line for line in fleet.journal()["spec"]["records"])


def test_v2_again_releases_the_quarantined_node(fleet: SimulatedFleet) -> None:
    fleet.want("v2")
    output = fleet.stack.up().require()
    assert fleet.cordoned() == [], output
    fleet.stack.run("up", "--yes", "--skip-preview", "--expect-no-changes").require()


def test_a_digest_that_is_not_the_folder_s_is_one_sentence(fleet: SimulatedFleet) -> None:
    fleet.want("v2", digest="sha256:" + "0" * 64)
    output = fleet.stack.preview().require(1)
    assert "is not accepted: its digest is" in output
    assert "Traceback" not in output
    fleet.want("v2")


def test_pulumi_s_state_holds_no_key_and_no_certificate(fleet: SimulatedFleet) -> None:
    files = [path for path in (fleet.stack.folder / "state").rglob("*") if path.is_file()]
    content = "".join(path.read_text(errors="replace") for path in files)
    assert str(fleet.credentials) in content
    assert "PRIVATE KEY" not in content and "BEGIN CERTIFICATE" not in content


def test_destroy_touches_no_node(fleet: SimulatedFleet) -> None:
    boots = fleet.boots()
    fleet.stack.run("destroy", "--yes", "--skip-preview").require()
    assert fleet.boots() == boots
    assert fleet.cordoned() == []
