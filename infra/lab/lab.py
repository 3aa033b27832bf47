"""A lab from outside: started, waited for, looked at, ended. The lab itself is the supervisor's process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from sealwave.infra.errors import LabBusy, LabFailed, NotReadyInTime
from sealwave.infra.lab.children import tail
from sealwave.infra.lab.cluster import Cluster
from sealwave.infra.lab.controlplane import ControlPlane
from sealwave.infra.lab.pki import GUEST_VIEW_OF_HOST
from sealwave.infra.lab.ports import LOOPBACK
from sealwave.infra.lab.state import LabFolder, LabState, read_state
from sealwave.infra.lab.supervisor import STAY, hold_lock
from sealwave.infra.progress import Progress

__all__ = ["Lab", "NodeLine", "node_lines", "take_down"]

# What a console says to a terminal: control sequences with their parameters, and the older two-character ones.
ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[ -/]*[0-~])")
# Seconds for the control plane and the services; the machines only have to be powered on.
START_LIMIT = 240.0
# Seconds for the supervisor to end everything: each of eleven children may need its own limit.
END_LIMIT = 60.0
# Seconds from power-on to Ready, three machines at once under emulation beside other load.
READY_LIMIT = 600.0


@dataclass(frozen=True)
class NodeLine:
    """One node as a person waits for it."""

    name: str
    joined: bool
    ready: bool
    detail: str

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}"


class Lab:
    """A lab that this process started; closing it ends the lab unless it was told to stay."""

    def __init__(self, folder: LabFolder, state: LabState) -> None:
        self.folder = folder
        self.state = state
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._stays = False

    @property
    def cluster(self) -> Cluster:
        """A client of the lab's API server with the administrator's rights."""
        return self._plane.cluster

    @property
    def admin_kubeconfig(self) -> Path:
        """For the person at this host."""
        return self._plane.admin_kubeconfig

    @property
    def images_url(self) -> str:
        """The image host as this host reaches it."""
        return f"https://{LOOPBACK}:{self.state.images}"

    @property
    def guest_images_url(self) -> str:
        """The image host as a machine reaches it."""
        return f"https://{GUEST_VIEW_OF_HOST}:{self.state.images}"

    def start(self, progress: Progress) -> None:
        """Start the supervisor and wait until everything is powered on; raises LabFailed or NotReadyInTime."""
        self.folder.supervisor.unlink(missing_ok=True)
        reading, self._lifeline = os.pipe()
        arguments = [str(self.folder.root), "--lifeline", str(reading)]
        log = os.open(self.folder.supervisor_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sealwave.infra.lab.supervisor", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(reading,),
                # Ctrl-C is for the one who waits; it ends the lab through the lifeline, in the right order.
                start_new_session=True,
            )
        finally:
            os.close(reading)
            os.close(log)
        self._wait_until_up(progress)

    def require_running(self) -> None:
        """Raise LabFailed when the supervisor ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            sentence = self._said().get("sentence") or tail(self.folder.supervisor_log) or "it does not say why"
            raise LabFailed(sentence, self.folder.supervisor_log)

    def wait_ready(self, progress: Progress) -> None:
        """Wait until every machine is a Ready node; raises LabFailed or NotReadyInTime, naming what is missing."""
        end = time.monotonic() + READY_LIMIT
        while True:
            self.require_running()
            lines = node_lines(self.cluster, self.state, self.folder)
            progress.note(*map(str, lines))
            if all(line.ready for line in lines):
                return
            if time.monotonic() > end:
                missing = "; ".join(str(line) for line in lines if not line.ready)
                remedy = f"look at the consoles in {self.folder.root / 'machines'}"
                raise NotReadyInTime("the cluster's nodes", READY_LIMIT, missing, remedy)
            time.sleep(1.0)

    def let_stay(self) -> None:
        """Let the lab live on after this process."""
        if self._lifeline is not None:
            os.write(self._lifeline, STAY)
            os.close(self._lifeline)
            self._lifeline = None
        self._stays = True

    def close(self) -> None:
        """End the lab and wait until every process of it is gone; one that was let stay is only forgotten."""
        if self._stays and self._process is not None:
            self._process.poll()
            return
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        if self._process is not None:
            try:
                self._process.wait(END_LIMIT)
            except subprocess.TimeoutExpired:
                # Its children end with it: the kernel sees to that.
                self._process.kill()
                self._process.wait()
            self._process = None

    @property
    def _plane(self) -> ControlPlane:
        return ControlPlane(self.folder.control_plane, tools=self.state.tools, ports=self.state.control_plane)

    def _said(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            said: dict[str, Any] = json.loads(self.folder.supervisor.read_bytes())
            return said
        return {}

    def _wait_until_up(self, progress: Progress) -> None:
        def up() -> bool:
            self.require_running()
            said = self._said()
            progress.note(str(said.get("sentence", "starting")))
            return said.get("phase") == "up"

        waiting = Retrying(
            stop=stop_after_delay(START_LIMIT), wait=wait_fixed(0.2), retry=retry_if_result(lambda done: not done)
        )
        try:
            waiting(up)
        except RetryError as error:
            detail = str(self._said().get("sentence", "it says nothing"))
            raise NotReadyInTime("the lab", START_LIMIT, detail, f"look at {self.folder.supervisor_log}") from error


def node_lines(cluster: Cluster, state: LabState, folder: LabFolder) -> list[NodeLine]:
    """Each machine's way to a Ready node; until it has joined, the last line of its console."""
    nodes = {node["metadata"]["name"]: node for node in cluster.items("/api/v1/nodes")}
    lines = []
    for spec in state.machines:
        node = nodes.get(spec.name)
        if node is None:
            console = tail(folder.machine(spec.name) / "console.log")
            lines.append(NodeLine(spec.name, False, False, f"booting  {_printable(console)}"))
            continue
        conditions = {one["type"]: one for one in node["status"].get("conditions", [])}
        ready = conditions.get("Ready", {})
        good = ready.get("status") == "True"
        detail = "Ready" if good else f"joined, not ready: {ready.get('message', 'no word from its kubelet yet')}"
        lines.append(NodeLine(spec.name, True, good, detail))
    return lines


def take_down(folder: LabFolder) -> bool:
    """End the lab in this folder, whoever started it; returns False when none runs.

    Raises LabBusy when the process that holds the lab is no supervisor of this folder, or does not end.
    """
    if read_state(folder.state) is None:
        return False
    try:
        with hold_lock(folder):
            return False
    except LabBusy as busy:
        holder = busy.holder
        if holder is None or not _supervises(holder, folder):
            raise
        with contextlib.suppress(ProcessLookupError):
            os.kill(holder, signal.SIGTERM)
        end = time.monotonic() + END_LIMIT
        while _supervises(holder, folder):
            if time.monotonic() > end:
                os.kill(holder, signal.SIGKILL)
                end = time.monotonic() + END_LIMIT
            time.sleep(0.2)
    return True


def _supervises(process: int, folder: LabFolder) -> bool:
    try:
        arguments = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"sealwave.infra.lab.supervisor" in arguments and os.fsencode(folder.root) in arguments


def _printable(line: str) -> str:
    line = ESCAPE.sub("", line)
    return "".join(character if character.isprintable() else " " for character in line)[:80].strip()
