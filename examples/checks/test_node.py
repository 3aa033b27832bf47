"""Checks of your own: testinfra on the finished root tree, before it is sealed."""

from testinfra.host import Host


def test_kubelet_is_there_and_belongs_to_root(host: Host) -> None:
    kubelet = host.file("/usr/bin/kubelet")
    assert kubelet.exists
    assert kubelet.user == "root"
    assert kubelet.mode == 0o755


def test_forwarding_is_set_for_the_pod_network(host: Host) -> None:
    assert host.file("/etc/sysctl.d/50-sealwave.conf").contains("net.ipv4.ip_forward = 1")


def test_console_says_what_the_machine_is(host: Host) -> None:
    assert "sealed image" in host.file("/etc/issue").content_string
