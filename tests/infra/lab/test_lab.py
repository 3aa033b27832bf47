"""A lab without machines: it starts, it ends with the one who started it, and it may be let stay."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from sealwave.infra.errors import LabBusy, LabFailed
from sealwave.infra.lab.lab import Lab, take_down
from sealwave.infra.lab.state import LabFolder, new_state, read_state, write_state
from sealwave.infra.lab.supervisor import hold_lock
from sealwave.infra.progress import Progress
from tests.controlplane import tools_folder

pytestmark = [pytest.mark.tools, pytest.mark.timeout(300)]

STARTER = """
import sys, time
from pathlib import Path
from sealwave.infra.lab.lab import Lab
from sealwave.infra.lab.state import LabFolder, read_state
from sealwave.infra.lab.supervisor import hold_lock
from sealwave.infra.progress import Progress
folder = LabFolder(Path(sys.argv[1]))
lab = Lab(folder, read_state(folder.state))
lab.start(Progress())
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> LabFolder:
    folder = LabFolder(tmp_path / "lab")
    folder.root.mkdir(mode=0o700)
    disk = tmp_path / "disk.raw"
    disk.write_bytes(b"")
    state = new_state(
        folder.root, tools=tools_folder(), count=0, digest="sha256:" + "0" * 64, disk=disk, accelerator="tcg"
    )
    write_state(folder.state, state)
    assert read_state(folder.state) == state
    return folder


def _lab(folder: LabFolder) -> Lab:
    state = read_state(folder.state)
    assert state is not None
    return Lab(folder, state)


def _processes(folder: LabFolder) -> list[str]:
    found = subprocess.run(["/usr/bin/pgrep", "-f", str(folder.root)], capture_output=True, text=True, check=False)
    return found.stdout.split()


def _wait_gone(folder: LabFolder) -> None:
    end = time.monotonic() + 40
    while _processes(folder) and time.monotonic() < end:
        time.sleep(0.2)
    assert _processes(folder) == []


def test_it_stays_when_told_to_and_is_taken_down(folder: LabFolder) -> None:
    lab = _lab(folder)
    lab.start(Progress(Console(quiet=True)))
    assert (folder.credentials.stat().st_mode & 0o777, folder.root.stat().st_mode & 0o777) == (0o700, 0o700)
    assert {path.name for path in folder.credentials.iterdir()} >= {"kubeconfig", "updater.key", "release.pub"}
    with pytest.raises(LabFailed, match="is in use by process"):
        _lab(folder).start(Progress(Console(quiet=True)))
    lab.let_stay()
    lab.close()
    assert len(_processes(folder)) == 5
    assert take_down(folder)
    assert _processes(folder) == []
    assert not take_down(folder)
    lab.close()


def test_everything_ends_when_the_starter_is_killed(folder: LabFolder) -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(folder.root)], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    with starter.stdout:
        assert starter.stdout.readline() == b"up\n"
    starter.kill()
    starter.wait()
    _wait_gone(folder)


def test_everything_ends_when_the_supervisor_is_killed(folder: LabFolder) -> None:
    lab = _lab(folder)
    lab.start(Progress(Console(quiet=True)))
    with pytest.raises(LabBusy) as caught, hold_lock(folder):
        pass
    assert caught.value.holder is not None
    os.kill(caught.value.holder, signal.SIGKILL)
    _wait_gone(folder)
    with pytest.raises(LabFailed):
        lab.require_running()
    lab.close()
