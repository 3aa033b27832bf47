"""What the lab applies: accepted by a real API server, and meant as the comments say."""

from datetime import UTC, datetime, timedelta

import pytest

from sealwave.infra.errors import ClusterRefused
from sealwave.infra.lab import workload
from sealwave.infra.lab.controlplane import ControlPlane
from sealwave.infra.lab.joining import BootstrapToken, allow_joining, token_secret
from sealwave.infra.lab.lab import _printable

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_one_pod_at_a_time_may_leave() -> None:
    assert workload.REPLICAS - workload.MIN_AVAILABLE == 1
    # On three nodes one of them has two pods: draining it cannot be done at one go.
    assert workload.REPLICAS > 3


def test_a_token_runs_out_and_is_told_to_nobody() -> None:
    token = BootstrapToken.generate()
    document = token_secret(token, machine="node-1", now=NOW)
    assert document["stringData"]["expiration"] == (NOW + timedelta(hours=4)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert token.secret not in document["metadata"]["name"]
    assert token.secret not in repr(token)
    assert str(token) == f"{token.id}.{token.secret}"
    assert (len(token.id), len(token.secret)) == (6, 16)


@pytest.mark.parametrize(
    ("console", "shown"),
    [
        pytest.param("\x1b[0;1;31mno\x1b[0m way\r", "no way", id="colours"),
        pytest.param("\x1b]104\x1b\\\x1b[!p\x1b[?7hup", "up", id="terminal set-up"),
        pytest.param("\x1b[0;1;38:5:185mx", "x", id="colons"),
        pytest.param("a\x07\x00b", "a  b", id="control characters"),
    ],
)
def test_a_console_line_is_safe_to_print(console: str, shown: str) -> None:
    assert _printable(console) == shown


@pytest.mark.tools
@pytest.mark.timeout(300)
def test_a_real_api_server_takes_them_twice(control_plane: ControlPlane) -> None:
    cluster = control_plane.cluster
    token = BootstrapToken.generate()
    for _ in range(2):
        allow_joining(cluster)
        cluster.apply([token_secret(token, machine="node-1", now=datetime.now(UTC)), *workload.documents()])
    budget = cluster.get(f"/apis/policy/v1/namespaces/{workload.NAMESPACE}/poddisruptionbudgets/{workload.NAME}")
    assert budget["spec"]["minAvailable"] == workload.MIN_AVAILABLE
    cluster.delete(f"/api/v1/namespaces/kube-system/secrets/bootstrap-token-{token.id}")
    cluster.delete(f"/apis/apps/v1/namespaces/{workload.NAMESPACE}/deployments/{workload.NAME}")
    with pytest.raises(ClusterRefused, match="it serves no kind Nothing"):
        cluster.apply([{"apiVersion": "v1", "kind": "Nothing", "metadata": {"name": "x"}}])
