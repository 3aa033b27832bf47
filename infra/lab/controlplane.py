"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler as processes of this host.

Rules:
1. Each listens on 127.0.0.1 only, with TLS; etcd takes the API server's certificate and no other.
2. Anonymous requests are refused. Kubelets come in by the TLS bootstrap (a token each) and are held to their own
   node by the Node authorizer and NodeRestriction.
3. The order of the start is the order of need, and each is waited for; the order of the end is the reverse.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from sealwave.infra.errors import NotReadyInTime
from sealwave.infra.lab.children import Child, stop_all
from sealwave.infra.lab.cluster import Cluster
from sealwave.infra.lab.kubeconfig import write_kubeconfig
from sealwave.infra.lab.pki import DRIVER, GUEST_VIEW_OF_HOST, Pki, ensure_pki
from sealwave.infra.lab.ports import LOOPBACK, free_ports, require_free
from sealwave.signing.files import make_private_folder

__all__ = ["EVERY_CONTROLLER", "ControlPlane", "Ports"]

EVERY_CONTROLLER = ("*",)
# Seconds. Ready after 5 on an idle host; six times that has been seen beside three emulated machines.
READY_LIMIT = 120.0
# Seconds until a component that was asked to end is killed. The API server waits minutes for open watches, and with
# etcd's data on disk nothing is lost by killing it.
END_LIMIT = 8.0


@dataclass(frozen=True)
class Ports:
    """Where the control plane listens, on 127.0.0.1."""

    api: int
    etcd: int
    etcd_peer: int

    @classmethod
    def choose(cls) -> Ports:
        """Three that are free now."""
        return cls(*free_ports(3))


class ControlPlane:
    """A control plane whose whole state lies in one folder (0700)."""

    def __init__(
        self, folder: Path, *, tools: Path, ports: Ports, controllers: tuple[str, ...] = EVERY_CONTROLLER
    ) -> None:
        """Prepare only. `tools` is the folder of the programs; `controllers` is what the controller manager takes."""
        self.folder = folder
        self.ports = ports
        self._tools = tools
        self._controllers = controllers
        self._children: list[Child] = []
        self.pki = Pki(folder / "pki")

    @property
    def url(self) -> str:
        """The API server's address on this host."""
        return f"https://{LOOPBACK}:{self.ports.api}"

    @property
    def guest_url(self) -> str:
        """The API server's address as a virtual machine sees it."""
        return f"https://{GUEST_VIEW_OF_HOST}:{self.ports.api}"

    @property
    def admin_kubeconfig(self) -> Path:
        """Unlimited rights: for the person at this host and for tests."""
        return self.folder / "admin.kubeconfig"

    @property
    def driver_kubeconfig(self) -> Path:
        """The rights of the rollout's driver."""
        return self.folder / "driver.kubeconfig"

    @property
    def cluster(self) -> Cluster:
        """A client with the administrator's rights."""
        pki = self.pki
        return Cluster(self.url, pki.certificate("cluster-ca"), pki.certificate("admin"), pki.key("admin"))

    def start(self, *, now: datetime) -> None:
        """Start everything and wait until it is ready.

        Raises PortInUse, ToolMissing, ChildEnded or NotReadyInTime; what was started until then is ended.
        """
        require_free(self.ports.api, "the API server")
        require_free(self.ports.etcd, "etcd")
        require_free(self.ports.etcd_peer, "etcd's peers")
        make_private_folder(self.folder)
        self.pki = ensure_pki(self.folder / "pki", now=now)
        self._write_kubeconfigs()
        try:
            self._start("etcd", self._etcd_arguments())
            self._start("kube-apiserver", self._apiserver_arguments())
            self._wait("the API server", self._apiserver_missing)
            self._start("kube-controller-manager", self._controller_manager_arguments())
            self._start("kube-scheduler", self._scheduler_arguments())
            self._wait("the controller manager", self._controllers_missing)
        except BaseException:
            self.stop()
            raise

    def require_running(self) -> None:
        """Raise ChildEnded when a component ended by itself."""
        for child in self._children:
            child.require_running()

    def stop(self) -> None:
        """End every component; nothing happens where none runs."""
        stop_all(self._children, limit=END_LIMIT)
        self._children.clear()

    def _start(self, name: str, arguments: list[str]) -> None:
        child = Child(name, [self._tools / name, *arguments], log=self.folder / f"{name}.log")
        self._children.append(child)

    def _wait(self, what: str, missing: object) -> None:
        assert callable(missing)

        def look() -> str | None:
            self.require_running()
            answer = missing()
            return None if answer is None else str(answer)

        waiting = Retrying(
            stop=stop_after_delay(READY_LIMIT), wait=wait_fixed(0.25), retry=retry_if_result(lambda m: m is not None)
        )
        try:
            waiting(look)
        except RetryError as error:
            detail = str(error.last_attempt.result())
            raise NotReadyInTime(what, READY_LIMIT, detail, f"look at the logs in {self.folder}") from error

    def _apiserver_missing(self) -> str | None:
        return self.cluster.healthy()

    def _controllers_missing(self) -> str | None:
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        return None if self.cluster.find(account) else "it has not made the default service account yet"

    def _write_kubeconfigs(self) -> None:
        users = {
            "admin": "admin",
            "driver": DRIVER,
            "controller-manager": "controller-manager",
            "scheduler": "scheduler",
        }
        for name, user in users.items():
            write_kubeconfig(
                self.folder / f"{name}.kubeconfig",
                server=self.url,
                authority=self.pki.authority_pem("cluster"),
                certificate=self.pki.certificate(name).read_bytes(),
                key=self.pki.key(name).read_bytes(),
                user=user,
            )

    def _etcd_arguments(self) -> list[str]:
        client = f"https://{LOOPBACK}:{self.ports.etcd}"
        peer = f"https://{LOOPBACK}:{self.ports.etcd_peer}"
        pki = self.pki
        ours = {"cert-file": pki.certificate("etcd"), "key-file": pki.key("etcd")}
        trusted = pki.certificate("etcd-ca")
        return [
            "--name=lab",
            f"--data-dir={self.folder / 'etcd'}",
            # A lab loses nothing worth keeping with the host's power, and waits for the disk otherwise.
            "--unsafe-no-fsync=true",
            "--log-level=warn",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=lab={peer}",
            # It would call etcd with the server's own certificate, which is not good for clients.
            "--enable-grpc-gateway=false",
            "--client-cert-auth=true",
            "--peer-client-cert-auth=true",
            f"--trusted-ca-file={trusted}",
            f"--peer-trusted-ca-file={trusted}",
            *(f"--{name}={path}" for name, path in ours.items()),
            *(f"--peer-{name}={path}" for name, path in ours.items()),
        ]

    def _apiserver_arguments(self) -> list[str]:
        pki = self.pki
        return [
            f"--bind-address={LOOPBACK}",
            f"--secure-port={self.ports.api}",
            f"--advertise-address={GUEST_VIEW_OF_HOST}",
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={pki.certificate('apiserver')}",
            f"--tls-private-key-file={pki.key('apiserver')}",
            "--tls-min-version=VersionTLS13",
            f"--client-ca-file={pki.certificate('cluster-ca')}",
            "--anonymous-auth=false",
            "--enable-bootstrap-token-auth=true",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--etcd-servers=https://{LOOPBACK}:{self.ports.etcd}",
            f"--etcd-cafile={pki.certificate('etcd-ca')}",
            f"--etcd-certfile={pki.certificate('apiserver-etcd')}",
            f"--etcd-keyfile={pki.key('apiserver-etcd')}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki.service_account_public}",
            f"--service-account-signing-key-file={pki.key('service-account')}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--shutdown-delay-duration=0s",
            "--shutdown-watch-termination-grace-period=1s",
        ]

    def _controller_manager_arguments(self) -> list[str]:
        pki = self.pki
        return [
            f"--kubeconfig={self.folder / 'controller-manager.kubeconfig'}",
            f"--controllers={','.join(self._controllers)}",
            "--leader-elect=false",
            # Nobody asks it anything: no port is one port less to guard.
            "--secure-port=0",
            "--use-service-account-credentials=true",
            f"--root-ca-file={pki.certificate('cluster-ca')}",
            f"--service-account-private-key-file={pki.key('service-account')}",
            f"--cluster-signing-cert-file={pki.certificate('cluster-ca')}",
            f"--cluster-signing-key-file={pki.key('cluster-ca')}",
        ]

    def _scheduler_arguments(self) -> list[str]:
        return [
            f"--kubeconfig={self.folder / 'scheduler.kubeconfig'}",
            "--leader-elect=false",
            "--secure-port=0",
        ]
