"""A whole fleet for tests: real control plane, simulated machines and kubelets, image host, credentials, Pulumi stack.

    with SimulatedFleet(folder, plane, nodes=3) as fleet:
        fleet.want("v1")
        fleet.stack.up().require()

Each of the fleet's machines can be stopped at one call, before it takes effect or before it is answered: so a test
kills the driver at an instant that it names, and not at one that it happens to hit.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sealwave.images.agent.errors import Code, Refused
from sealwave.images.agent.platform import Finding
from sealwave.images.agent.service import Body, Reply
from sealwave.infra.lab import imagehost
from sealwave.infra.lab.controlplane import ControlPlane
from sealwave.infra.lab.ports import free_ports
from sealwave.infra.lab.web import Service, WebServices
from sealwave.signing.files import PRIVATE_FILE, make_private_folder, write_atomic
from tests.simulated.cluster import Kubelets
from tests.simulated.images import FakeImage, make_image
from tests.simulated.machine import Faults, Pod, SimulatedMachine, Trust
from tests.simulated.stack import Stack

HELD_SECONDS = 60.0
"""How long a call is held at most; the test that holds it lets go much earlier."""


@dataclass
class Halt:
    """One call at which a machine stands still: the first one of its kind."""

    operation: str
    when: Literal["before", "after"]
    reached: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)


class HaltingMachine(SimulatedMachine):
    """A simulated machine that can stand still at a call."""

    halt: Halt | None = None
    drifted: tuple[str, ...] = ()
    """Paths that the node reports as drifted."""

    def _boot(self) -> None:
        super()._boot()
        platform = self.platform
        platform.drift = lambda image: [  # type: ignore[method-assign]  # the seam of this test
            Finding(path, "is not as the image has it") for path in self.drifted
        ]
        agent = self._agent
        assert agent is not None
        change = agent.change

        def held(operation: str, body: Body, *, key: str) -> Reply:
            halt = self.halt
            if halt is None or halt.operation != operation or halt.reached.is_set():
                return change(operation, body, key=key)
            if halt.when == "before":
                halt.reached.set()
                halt.go.wait(HELD_SECONDS)
                raise Refused(Code.INTERNAL, "the caller is gone")
            reply = change(operation, body, key=key)
            halt.reached.set()
            halt.go.wait(HELD_SECONDS)
            return reply

        agent.change = held  # type: ignore[method-assign]  # the seam of this test


class KubeletSeam:
    """What the simulated kubelet of one machine sees of it."""

    def __init__(self, machine: HaltingMachine, broken: set[str]) -> None:
        self._machine = machine
        self._broken = broken
        self._boot_id = ""
        self.up = True
        self.took_boot(machine)

    @property
    def name(self) -> str:
        return self._machine.name

    @property
    def boot_id(self) -> str:
        return self._boot_id

    @property
    def kubelet_works(self) -> bool:
        return self._machine.digest not in self._broken

    def set_pods(self, pods: Sequence[tuple[str, str, str]]) -> None:
        self._machine.pods = [Pod(namespace=space, name=name, uid=uid) for space, name, uid in pods]

    def took_boot(self, machine: SimulatedMachine) -> None:
        self._boot_id = machine.platform.boot_id()
        self.up = True


class SimulatedFleet:
    """See the head of this module."""

    def __init__(self, folder: Path, plane: ControlPlane, *, nodes: int, pool: str = "workers") -> None:
        self.pool = pool
        self.plane = plane
        self.trust = Trust.make()
        self.faults = Faults(boot_seconds=0.3)
        self.images: dict[str, FakeImage] = {}
        self.machines: list[HaltingMachine] = []
        self.stack = Stack(_made(folder / "pulumi"))
        self._folder = folder
        self._nodes = nodes
        self._open = ExitStack()
        self._seams: dict[str, KubeletSeam] = {}
        self._port = free_ports(1)[0]
        self._settings: dict[str, Any] = {}

    def __enter__(self) -> SimulatedFleet:
        """Publish v1, v2 and the broken v3, start the machines on v1, register their nodes."""
        host = _made(self._folder / "host")
        for number, version in enumerate(("v1", "v2", "v3"), start=1):
            image = make_image(
                self._folder / "images" / version, version=version, release=self.trust.release, release_number=number
            )
            imagehost.publish(image.folder, digest=image.digest, folder=host)
            self.images[version] = image
        self.faults.kubelet_broken.add(self.images["v3"].digest)
        pki = self.plane.pki
        service = Service(
            "image host", imagehost.application(host), self._port, pki.certificate("images"), pki.key("images")
        )
        web = WebServices(service)
        web.start()
        self._open.callback(web.stop)
        for number in range(1, self._nodes + 1):
            self.machines.append(self._machine(f"{self.pool}-{number}"))
        kubelets = Kubelets(self.plane.cluster, list(self._seams.values()), labels={"example.com/pool": self.pool})
        self._open.enter_context(kubelets)
        self.kubelets = kubelets
        self._write_credentials()
        return self

    def __exit__(self, *_: object) -> None:
        for machine in self.machines:
            if machine.halt:
                machine.halt.go.set()
        self._open.close()
        # What killed clients left open is found here, and not in the middle of another test.
        gc.collect()

    @property
    def credentials(self) -> Path:
        """The driver's folder."""
        return self._folder / "credentials"

    def want(self, version: str, *, waves: tuple[int, ...] = (1, 2), addon: bool = True, digest: str = "") -> None:
        """Write the stack's configuration: this image on every node of the pool, or another digest of it."""
        image = self.images[version]
        path = image.digest.replace(":", "-")
        settings: dict[str, Any] = {
            "credentials": str(self.credentials),
            "image": {"source": f"https://127.0.0.1:{self._port}/{path}", "digest": digest or image.digest},
            "pool": {
                "name": self.pool,
                "selector": {"example.com/pool": self.pool},
                "waves": list(waves),
                "machines": {machine.name: machine.url for machine in self.machines},
                "deadlines": {"verify": 20, "boot": 60, "workload": 60, "unwind": 60, "evict": 90},
            },
        }
        if addon:
            settings["addonKubeconfig"] = str(self.plane.admin_kubeconfig)
        self.stack.configure(settings)

    def halt_at(self, operation: str, when: Literal["before", "after"]) -> Halt:
        """Let whichever machine gets this call first stand still at it."""
        halt = Halt(operation, when)
        for machine in self.machines:
            machine.halt = halt
        return halt

    def digests(self) -> list[str | None]:
        """What each machine runs."""
        return [machine.digest for machine in self.machines]

    def boots(self) -> list[int]:
        """How often each machine has booted."""
        return [machine.boots for machine in self.machines]

    def nodes(self) -> list[dict[str, Any]]:
        """The pool's Node objects."""
        found = self.plane.cluster.items(f"/api/v1/nodes?labelSelector=example.com/pool={self.pool}")
        return sorted(found, key=lambda node: str(node["metadata"]["name"]))

    def cordoned(self) -> list[str]:
        """The nodes that take no pods."""
        return [node["metadata"]["name"] for node in self.nodes() if node["spec"].get("unschedulable")]

    def journal(self) -> dict[str, Any]:
        """The pool's journal object."""
        return self.plane.cluster.get(f"/apis/sealwave.dev/v1alpha1/journals/{self.pool}")

    def write_journal(self, records: list[str]) -> None:
        """Write the journal's records as someone with a text editor would: the head stays what it was."""
        journal = self.journal()
        journal["metadata"] = {"name": self.pool}
        journal["spec"]["records"] = records
        self.plane.cluster.apply([journal])

    def remove_labels(self) -> None:
        """Take every label of ours off the pool's nodes."""
        for node in self.nodes():
            ours = [key for key in node["metadata"].get("labels", {}) if "sealwave.dev" in key]
            self.kubelets.patch_node(node["metadata"]["name"], {"metadata": {"labels": dict.fromkeys(ours)}})

    def _machine(self, name: str) -> HaltingMachine:
        machine = HaltingMachine(
            name,
            self._folder / "machines" / name,
            trust=self.trust,
            image=self.images["v1"],
            images_ca=self.plane.pki.certificate("web-ca"),
            faults=self.faults,
            on_boot=self._booted,
            on_down=self._went_down,
        )
        machine.start()
        self._open.callback(machine.stop)
        self._seams[name] = KubeletSeam(machine, self.faults.kubelet_broken)
        return machine

    def _booted(self, machine: SimulatedMachine, digest: str | None) -> None:
        if machine.name in self._seams:
            self._seams[machine.name].took_boot(machine)

    def _went_down(self, machine: SimulatedMachine) -> None:
        if machine.name in self._seams:
            self._seams[machine.name].up = False

    def _write_credentials(self) -> None:
        make_private_folder(self.credentials)
        files = {
            "kubeconfig": self.plane.driver_kubeconfig.read_bytes(),
            "machine-ca.pem": self.trust.machine_ca.pem,
            "images-ca.pem": self.plane.pki.authority_pem("web"),
            "release.pub": self.trust.release.public_pem,
        }
        for role in ("observer", "updater"):
            issued = self.trust.client(role)
            files |= {f"{role}.pem": issued.certificate, f"{role}.key": issued.key}
        for name, content in files.items():
            write_atomic(self.credentials / name, content, mode=PRIVATE_FILE)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
