"""A node as a QEMU machine: own firmware variables, own TPM, own disk over the image's, own configuration disk.

Rules:
1. What differs between machines is on the configuration disk, which the node verifies; nothing secret is an argument.
2. The machine's identity towards systemd is the firmware's UUID, so that it survives a change of image.
3. The overlay belongs to one base disk: preparing a machine for another base starts it from nothing.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from sealwave.infra.errors import NotReadyInTime, ToolMissing
from sealwave.infra.lab.accelerator import Accelerator
from sealwave.infra.lab.children import Child, stop_all
from sealwave.infra.lab.firmware import Firmware, enrol_keys
from sealwave.infra.lab.ports import LOOPBACK, require_free
from sealwave.infra.lab.qmp import command
from sealwave.signing.files import PRIVATE_FILE, make_private_folder, write_atomic
from sealwave.signing.keys import LabKeys

__all__ = ["Machine", "MachineSpec", "require_programs"]

QEMU = Path("/usr/bin/qemu-system-x86_64")
QEMU_IMG = Path("/usr/bin/qemu-img")
SWTPM = Path("/usr/bin/swtpm")
# The guest's port of the machine API.
MACHINE_API = 9443
# systemd, containerd, kubelet, the agent and three pods use 600 MiB; the rest caches pages while it stages.
MEMORY_MIB = 1536
CPUS = 2
# Seconds until swtpm's socket is there.
TPM_LIMIT = 20.0
# Seconds until QEMU, asked to end, is killed.
END_LIMIT = 5.0


@dataclass(frozen=True)
class MachineSpec:
    """What distinguishes one machine from the next."""

    name: str
    number: int
    uuid: UUID
    port: int  # Of 127.0.0.1, forwarded to the machine API.

    @property
    def address(self) -> str:
        """The guest's own address in its private network; different for each, because kubelets report it."""
        return f"10.0.2.{100 + self.number}"

    @property
    def url(self) -> str:
        """Where this host reaches the machine API; its certificate names the machine, not this address."""
        return f"https://{LOOPBACK}:{self.port}"


def require_programs() -> None:
    """Raise ToolMissing unless QEMU and the TPM emulator are installed."""
    for path, package in ((QEMU, "qemu-system-x86"), (QEMU_IMG, "qemu-utils"), (SWTPM, "swtpm")):
        if not path.is_file():
            raise ToolMissing(str(path), f"install it with `apt install {package}`")
    Firmware().require()


class Machine:
    """One virtual machine with its files in `folder` (0700)."""

    def __init__(self, spec: MachineSpec, folder: Path, *, accelerator: Accelerator) -> None:
        self.spec = spec
        self.folder = folder
        self._accelerator = accelerator
        self._children: list[Child] = []

    @property
    def console(self) -> Path:
        """What the machine prints on its serial line."""
        return self.folder / "console.log"

    def prepare(self, *, base: Path, keys: LabKeys, configuration: bytes) -> None:
        """Make the files anew: variables with our keys, an empty TPM, an overlay on `base`, the blob's disk."""
        shutil.rmtree(self.folder, ignore_errors=True)
        make_private_folder(self.folder)
        make_private_folder(self.folder / "tpm")
        enrol_keys(Firmware(), keys, self.folder / "variables.fd")
        overlay = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(base), str(self.folder / "disk.qcow2")]
        subprocess.run([str(QEMU_IMG), *overlay], check=True, stdin=subprocess.DEVNULL)
        write_atomic(self.folder / "configuration.img", configuration, mode=PRIVATE_FILE)

    @property
    def prepared(self) -> bool:
        """Whether its files are there."""
        return (self.folder / "configuration.img").is_file()

    def start(self) -> None:
        """Power on; call it from the main thread. Raises PortInUse, ToolMissing or NotReadyInTime."""
        require_free(self.spec.port, f"the machine API of {self.spec.name}")
        for name in ("tpm.sock", "qmp.sock"):
            (self.folder / name).unlink(missing_ok=True)
        state = ("--tpmstate", "dir=tpm,mode=0600", "--ctrl", "type=unixio,path=tpm.sock,mode=0600")
        self._spawn(
            "swtpm",
            [SWTPM, "socket", "--tpm2", *state],
        )
        self._wait_for_tpm()
        self._spawn("qemu", [QEMU, *self._arguments()])

    def require_running(self) -> None:
        """Raise ChildEnded when QEMU or the TPM ended by itself."""
        for child in self._children:
            child.require_running()

    @property
    def running(self) -> bool:
        """Whether QEMU runs."""
        return bool(self._children) and self._children[-1].running

    def reset(self) -> None:
        """Press the reset button."""
        command(self.folder / "qmp.sock", "system_reset", machine=self.spec.name)

    def power_off(self) -> None:
        """Cut the power: QEMU and the TPM end, the files stay."""
        stop_all(self._children, limit=END_LIMIT)
        self._children.clear()

    def _spawn(self, name: str, argv: list[str | Path]) -> None:
        self._children.append(
            Child(f"{name} of {self.spec.name}", argv, log=self.folder / f"{name}.log", folder=self.folder)
        )

    def _wait_for_tpm(self) -> None:
        def there() -> bool:
            self._children[-1].require_running()
            return (self.folder / "tpm.sock").exists()

        waiting = Retrying(
            stop=stop_after_delay(TPM_LIMIT), wait=wait_fixed(0.05), retry=retry_if_result(lambda found: not found)
        )
        try:
            waiting(there)
        except RetryError as error:
            what = f"the TPM of {self.spec.name}"
            raise NotReadyInTime(what, TPM_LIMIT, "no socket", f"look at {self.folder / 'swtpm.log'}") from error

    def _arguments(self) -> list[str]:
        firmware = Firmware()
        forward = f"hostfwd=tcp:{LOOPBACK}:{self.spec.port}-:{MACHINE_API}"
        disk = "file=disk.qcow2,if=none,id=disk,format=qcow2,discard=unmap"
        return [
            *("-name", self.spec.name, "-uuid", str(self.spec.uuid)),
            *("-nodefaults", "-no-user-config", "-display", "none", "-rtc", "base=utc"),
            # Secure Boot's variables are guarded by system management mode: only the firmware writes them.
            *("-machine", "q35,smm=on,vmport=off,hpet=off", "-global", "driver=cfi.pflash01,property=secure,value=on"),
            *("-global", "ICH9-LPC.disable_s3=1"),
            *self._accelerator.arguments,
            *("-smp", str(CPUS), "-m", str(MEMORY_MIB)),
            *("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={firmware.code}"),
            *("-drive", "if=pflash,format=raw,unit=1,file=variables.fd"),
            # The host's cache is the disk's: a lab loses nothing worth keeping with the host's power.
            *(
                "-drive",
                f"{disk},cache=unsafe",
                "-device",
                "virtio-blk-pci,drive=disk,serial=sealwave-disk,bootindex=0",
            ),
            *("-drive", "file=configuration.img,if=none,id=configuration,format=raw,readonly=on"),
            *("-device", "virtio-blk-pci,drive=configuration,serial=sealwave-config"),
            *("-netdev", f"user,id=net,dhcpstart={self.spec.address},{forward}"),
            # Without its option ROM: the firmware would load it first, and Secure Boot refuse it.
            *("-device", "virtio-net-pci,netdev=net,romfile="),
            *("-chardev", "socket,id=tpm,path=tpm.sock", "-tpmdev", "emulator,id=tpm,chardev=tpm"),
            *("-device", "tpm-crb,tpmdev=tpm"),
            *("-device", "i6300esb", "-action", "watchdog=reset"),
            *("-object", "rng-random,id=entropy,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=entropy"),
            *("-chardev", "file,id=console,path=console.log,append=on", "-serial", "chardev:console"),
            *("-qmp", "unix:qmp.sock,server=on,wait=off"),
        ]
