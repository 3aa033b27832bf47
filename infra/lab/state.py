"""What a lab is made of, as one file: written before anything is started, read by whoever starts, uses or ends it."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from sealwave.infra.errors import LabStateSpoiled
from sealwave.infra.lab.controlplane import Ports
from sealwave.infra.lab.machine import MachineSpec
from sealwave.infra.lab.ports import free_ports
from sealwave.signing.files import PRIVATE_FILE, write_atomic

__all__ = ["LabFolder", "LabState", "new_state", "read_state", "write_state"]

# Names the lab's machines for the firmware: the same machine of the same lab always gets the same UUID.
NAMESPACE = uuid.UUID("0a3b7c1e-6d0f-4a55-9a4c-3f3f2c7d9f11")


@dataclass(frozen=True)
class LabFolder:
    """Where each part of a lab lies. The folder is 0700."""

    root: Path

    @property
    def lock(self) -> Path:
        """Held by the process that runs the lab."""
        return self.root / "lab.lock"

    @property
    def state(self) -> Path:
        """What the lab is made of."""
        return self.root / "lab.json"

    @property
    def supervisor(self) -> Path:
        """What the supervising process says of itself."""
        return self.root / "supervisor.json"

    @property
    def supervisor_log(self) -> Path:
        """What it prints."""
        return self.root / "supervisor.log"

    @property
    def keys(self) -> Path:
        """The signing keys; images on disk trust them, so they outlive every other part."""
        return self.root / "keys"

    @property
    def control_plane(self) -> Path:
        """The control plane's whole state."""
        return self.root / "controlplane"

    @property
    def images(self) -> Path:
        """What the image host serves."""
        return self.root / "www"

    @property
    def bases(self) -> Path:
        """The disks that machines' overlays lie over, by digest."""
        return self.root / "bases"

    @property
    def enrolments(self) -> Path:
        """Who may enrol."""
        return self.root / "enrolments.json"

    @property
    def credentials(self) -> Path:
        """What the rollout's driver is given."""
        return self.root / "credentials"

    @property
    def pulumi(self) -> Path:
        """Pulumi's state, passphrase and settings."""
        return self.root / "pulumi"

    def machine(self, name: str) -> Path:
        """One machine's files."""
        return self.root / "machines" / name


@dataclass(frozen=True)
class LabState:
    """The lab's composition; addresses are ports of 127.0.0.1."""

    tools: Path
    control_plane: Ports
    enrolment: int
    images: int
    machines: tuple[MachineSpec, ...]
    digest: str
    disk: Path
    accelerator: str
    addon: bool = True  # Whether the lab installs the rollout's definitions and rights; else Pulumi does.

    @property
    def base(self) -> str:
        """The name of the base disk: that of the image on it."""
        return self.digest.replace(":", "-") + ".raw"


def new_state(root: Path, *, tools: Path, count: int, digest: str, disk: Path, accelerator: str) -> LabState:
    """A lab of `count` machines on free ports."""
    ports = free_ports(5 + count)
    machines = tuple(
        MachineSpec(f"node-{n}", n, uuid.uuid5(NAMESPACE, f"{root}/node-{n}"), ports[4 + n])
        for n in range(1, count + 1)
    )
    return LabState(tools, Ports(*ports[:3]), ports[3], ports[4], machines, digest, disk, accelerator)


def write_state(path: Path, state: LabState) -> None:
    """Write it whole, 0600."""
    document = asdict(state)
    write_atomic(path, json.dumps(document, indent=1, default=str).encode(), mode=PRIVATE_FILE)


def read_state(path: Path) -> LabState | None:
    """The state in this file, None when there is none; raises LabStateSpoiled when it cannot be read."""
    try:
        document = json.loads(path.read_bytes())
        machines = tuple(MachineSpec(**{**one, "uuid": uuid.UUID(one["uuid"])}) for one in document.pop("machines"))
        ports = Ports(**document.pop("control_plane"))
        tools, disk = Path(document.pop("tools")), Path(document.pop("disk"))
        return LabState(machines=machines, control_plane=ports, tools=tools, disk=disk, **document)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise LabStateSpoiled(path, "cannot be read") from error
