"""The process that a running lab is: it starts everything, watches it, and everything ends with it.

    python -m sealwave.infra.lab.supervisor FOLDER [--lifeline DESCRIPTOR]

Rules:
1. One supervisor to a folder: it holds the folder's lock as long as it lives.
2. What it is doing is in supervisor.json: a phase (`starting`, `up`, `failed`, `ended`), a sentence, its process id.
3. It ends on SIGTERM or SIGINT, and when its lifeline, a pipe from the one who started it, is closed without the word
   to stay. So a lab never outlives an interrupted or killed `sealwave lab up` or `demo`.
4. Machines end before services, services before the control plane.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from sealwave.infra.errors import InfraError, LabBusy
from sealwave.infra.lab import enrol, imagehost
from sealwave.infra.lab.accelerator import KVM, TCG
from sealwave.infra.lab.cluster import load_documents
from sealwave.infra.lab.config import Surroundings, machine_config, signed_disk
from sealwave.infra.lab.controlplane import ControlPlane
from sealwave.infra.lab.joining import BootstrapToken, allow_joining, token_secret
from sealwave.infra.lab.machine import Machine
from sealwave.infra.lab.pki import GUEST_VIEW_OF_HOST, Pki
from sealwave.infra.lab.state import LabFolder, LabState, read_state
from sealwave.infra.lab.web import Service, WebServices
from sealwave.signing.errors import SigningError
from sealwave.signing.files import PRIVATE_FILE, make_private_folder, sync_folder, write_atomic
from sealwave.signing.keys import LabKeys

__all__ = ["ADDON", "STAY", "Supervisor", "hold_lock", "keep_disk", "main"]

ADDON = Path(__file__).resolve().parent.parent / "addon"
# The word on the lifeline that lets the lab outlive the one who started it.
STAY = b"stay"
# Seconds between two looks at the children.
LOOK = 1.0
# Certificates and keys of the driver: name in the credentials folder -> name in the lab's PKI.
CREDENTIALS = {
    "machine-ca.pem": "machine-ca.pem",
    "images-ca.pem": "web-ca.pem",
    **{f"{role}.{kind}": f"{role}.{kind}" for role in ("updater", "observer") for kind in ("pem", "key")},
}


@contextlib.contextmanager
def hold_lock(folder: LabFolder) -> Iterator[None]:
    """Hold the lab's lock; raises LabBusy when another process has it. The holder's id is in the file."""
    make_private_folder(folder.root)
    descriptor = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    with os.fdopen(descriptor, "r+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            text = held.read().strip()
            raise LabBusy(folder.root, int(text) if text.isdecimal() else None) from error
        held.truncate(0)
        held.write(f"{os.getpid()}\n")
        held.flush()
        yield


def keep_disk(disk: Path, base: Path) -> None:
    """Make `base` a second name of this disk, or a copy where the file system forbids that; once there, it stays.

    A copy gets its name when it is whole and on the disk: an interrupted one is made anew. Raises OSError.
    """
    if base.exists():
        return
    with contextlib.suppress(OSError):
        os.link(disk, base)
        return
    part = base.with_name(f".{base.name}.part")
    try:
        with disk.open("rb") as source, part.open("wb") as target:
            shutil.copyfileobj(source, target)
            target.flush()
            os.fsync(target.fileno())
        part.replace(base)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(base.parent)


class Supervisor:
    """Everything that runs in one lab."""

    def __init__(self, folder: LabFolder, state: LabState) -> None:
        self._folder = folder
        self._state = state
        self._keys = LabKeys.ensure(folder.keys, now=datetime.now(UTC))
        self._plane = ControlPlane(folder.control_plane, tools=state.tools, ports=state.control_plane)
        accelerator = KVM if state.accelerator == KVM.name else TCG
        self._machines = [Machine(spec, folder.machine(spec.name), accelerator=accelerator) for spec in state.machines]
        self._enrolments = enrol.Enrolments(folder.enrolments)
        self._web: WebServices | None = None
        self._off: list[str] = []

    def start(self) -> None:
        """Start everything, in the order of need."""
        self.say("starting", "control plane")
        self._plane.start(now=datetime.now(UTC))
        allow_joining(self._plane.cluster)
        if self._state.addon:
            self._plane.cluster.apply(load_documents(ADDON))
        self._write_credentials(self._plane.pki)
        self.say("starting", "enrolment and image host")
        self._web = self._make_web(self._plane.pki)
        self._web.start()
        base = self._base_disk()
        for machine in self._machines:
            self.say("starting", machine.spec.name)
            if not machine.prepared:
                self._prepare(machine, base)
            machine.start()
        self.say("up", f"{len(self._machines)} machines are powered on")

    def look(self) -> None:
        """Raise ChildEnded when the control plane ended by itself; a machine that is off is told, and no failure."""
        self._plane.require_running()
        off = [machine.spec.name for machine in self._machines if not machine.running]
        if off != self._off:
            self._off = off
            self.say("up", f"powered off: {', '.join(off)}" if off else "every machine is powered on")

    def stop(self) -> None:
        """End everything, in the reverse order."""
        for machine in self._machines:
            machine.power_off()
        if self._web is not None:
            self._web.stop()
        self._plane.stop()

    def say(self, phase: str, sentence: str) -> None:
        """Write what is true of this lab now."""
        document = {"pid": os.getpid(), "phase": phase, "sentence": sentence}
        write_atomic(self._folder.supervisor, json.dumps(document).encode(), mode=PRIVATE_FILE)

    def _make_web(self, pki: Pki) -> WebServices:
        make_private_folder(self._folder.images)
        applications = {
            "enrolment": (enrol.application(self._enrolments, pki.authority("machine")), self._state.enrolment),
            "images": (imagehost.application(self._folder.images), self._state.images),
        }
        return WebServices(
            *(
                Service(f"the lab's {name} service", application, port, pki.certificate(name), pki.key(name))
                for name, (application, port) in applications.items()
            )
        )

    def _prepare(self, machine: Machine, base: Path) -> None:
        name, pki, now = machine.spec.name, self._plane.pki, datetime.now(UTC)
        token = BootstrapToken.generate()
        self._plane.cluster.apply([token_secret(token, machine=name, now=now)])
        around = Surroundings(
            api_server=self._plane.guest_url,
            enrolment=f"https://{GUEST_VIEW_OF_HOST}:{self._state.enrolment}",
            cluster_authority=pki.authority_pem("cluster"),
            machine_authority=pki.authority_pem("machine"),
            web_authority=pki.authority_pem("web"),
        )
        secret = self._enrolments.invite(name)
        config = machine_config(around, machine=name, number=machine.spec.number, token=token, secret=secret)
        disk = signed_disk(config, signer=self._keys.config.signer, public=self._keys.config.public_pem)
        machine.prepare(base=base, keys=self._keys, configuration=disk)

    def _base_disk(self) -> Path:
        """The disk under the overlays, under a name of its own: a later build must not change it beneath them."""
        make_private_folder(self._folder.bases)
        base = self._folder.bases / self._state.base
        keep_disk(self._state.disk, base)
        return base

    def _write_credentials(self, pki: Pki) -> None:
        target = self._folder.credentials
        make_private_folder(target)
        contents = {name: (pki.folder / source).read_bytes() for name, source in CREDENTIALS.items()}
        contents["kubeconfig"] = self._plane.driver_kubeconfig.read_bytes()
        contents["release.pub"] = self._keys.release.public_pem
        for name, content in contents.items():
            write_atomic(target / name, content, mode=PRIVATE_FILE)


def main() -> int:
    """Run a lab until it is told to end; returns 0, or 1 when it failed by itself."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lifeline", type=int)
    arguments = parser.parse_args()
    folder = LabFolder(arguments.folder)
    # Signals become bytes on a pipe, so that one select waits for everything and nothing is interrupted half-way.
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    with hold_lock(folder):
        state = read_state(folder.state)
        assert state is not None, "whoever starts the supervisor has written the state"
        supervisor = Supervisor(folder, state)
        try:
            supervisor.start()
            _watch(supervisor, wake, arguments.lifeline)
            phase, sentence, code = "ended", "it was told to end", 0
        except (InfraError, SigningError, OSError) as error:
            phase, sentence, code = "failed", str(error), 1
        except Exception as error:  # Our own mistake: the log has the place, the person a sentence.
            traceback.print_exc()
            phase, sentence, code = "failed", f"{type(error).__name__}: {error}", 1
        supervisor.stop()
        supervisor.say(phase, sentence)
    return code


def _watch(supervisor: Supervisor, wake: int, lifeline: int | None) -> None:
    """Return when it is time to end."""
    while True:
        waiting = [wake] if lifeline is None else [wake, lifeline]
        ready, _, _ = select.select(waiting, [], [], LOOK)
        if wake in ready:
            return
        if lifeline is not None and lifeline in ready:
            if os.read(lifeline, len(STAY)) != STAY:
                return
            lifeline = None
        supervisor.look()


if __name__ == "__main__":
    sys.exit(main())
