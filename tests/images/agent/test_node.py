"""What the real machine is read with: functions over its texts, and files in a temporary folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from sealwave.images.agent import __main__ as command_line
from sealwave.images.agent import efivars, esp, inspection, kubelet, layout, prepare
from sealwave.images.agent.config import parse_config
from sealwave.images.agent.containers import read_pods
from sealwave.images.agent.devmapper import VerityTable, parse_table
from sealwave.images.agent.errors import PlatformFailed
from sealwave.images.agent.linux import LinuxPlatform
from sealwave.images.agent.platform import BootChoice, Pod
from sealwave.images.agent.prepare import clean_data, image_settings, write_run_files
from sealwave.images.agent.slots import Slot, StoredImage
from tests.images.agent.test_backstop import Machine
from tests.images.agent.test_config import document
from tests.simulated.images import FakeImage, Trust

HASH = "ab" * 32
IMAGE = StoredImage("sha256:" + "1" * 64, "node", "1", 1, HASH, ("identity", "agent", "audit/log"))
CONFIG = parse_config(json.dumps(document()).encode())


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("verity", f"1 253:2 253:3 4096 4096 9 1 sha256 {HASH} - 1 panic_on_corruption", VerityTable("253:2", HASH)),
        ("another hash", f"1 253:2 253:3 4096 4096 9 1 sha512 {HASH} -", None),
        ("cut", "1 253:2", None),
        ("empty", "", None),
    ],
)
def test_table(name: str, text: str, expected: VerityTable | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="sha256 verity"):
            parse_table(text)
    else:
        assert parse_table(text) == expected


@pytest.mark.parametrize(
    ("name", "properties", "active", "detail"),
    [
        ("running", {"ActiveState": "active", "SubState": "running"}, True, "active (running)"),
        (
            "dies again and again",
            {"ActiveState": "activating", "SubState": "auto-restart", "Result": "exit-code", "NRestarts": "4"},
            False,
            "activating (auto-restart), last result exit-code, restarted 4 times",
        ),
        ("unknown", {}, False, "unknown (unknown)"),
    ],
)
def test_kubelet_state(name: str, properties: dict[str, str], active: bool, detail: str) -> None:
    state = inspection.kubelet_state(properties)
    assert (state.active, state.detail) == (active, detail)


def test_checks() -> None:
    assert inspection.check_root(HASH, f"quiet roothash={HASH} panic=10").passed
    assert not inspection.check_root(HASH, f"roothash={'0' * 64}").passed
    assert not inspection.check_root(HASH, "quiet").passed
    assert inspection.check_manifest(HASH, IMAGE).passed
    assert not inspection.check_manifest("0" * 64, IMAGE).passed
    assert not inspection.check_manifest(HASH, None).passed
    assert inspection.check_lockdown("none [integrity] confidentiality\n").passed
    assert not inspection.check_lockdown("[none] integrity confidentiality\n").passed
    assert inspection.check_failed_units("").passed
    assert inspection.check_failed_units("kubelet.service loaded failed failed x\n").detail == "kubelet.service"


MOUNTS = """\
22 1 254:0 / / ro,relatime shared:1 - erofs /dev/mapper/root ro
30 22 0:25 / /run rw,nosuid shared:2 - tmpfs tmpfs rw
31 22 0:26 / /var rw shared:3 - tmpfs tmpfs rw
40 22 253:6 / /data rw,noatime shared:4 - ext4 /dev/vda6 rw
"""


@pytest.mark.parametrize(
    ("name", "more", "expected"),
    [
        ("as it should be", "", []),
        ("the machine's id", "50 22 0:30 / /etc/machine-id rw - tmpfs tmpfs rw\n", []),
        ("overlay on /etc", "50 22 0:30 / /etc rw - overlay overlay rw\n", ["/etc"]),
        ("bind over a program", "50 22 0:30 / /usr/bin/kubelet rw - tmpfs tmpfs rw\n", ["/usr/bin/kubelet"]),
        ("a folder with a like name", "50 22 0:30 / /etcetera rw - tmpfs tmpfs rw\n", []),
    ],
)
def test_mounts(name: str, more: str, expected: Sequence[str]) -> None:
    assert [finding.path for finding in inspection.drift_of_mounts(MOUNTS + more)] == expected


def test_writable_root_is_drift() -> None:
    found = inspection.drift_of_mounts("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
    assert [finding.path for finding in found] == ["/"]


def test_drift_of_data() -> None:
    names = ["identity", "agent", "audit", "runtime", "lost+found", "notes.txt"]
    assert [finding.path for finding in inspection.drift_of_data(names, IMAGE.keep)] == ["/data/notes.txt"]
    assert inspection.drift_of_data(["identity", "agent"], ()) == []
    assert inspection.drift_of_taint("0\n") == []
    assert len(inspection.drift_of_taint("4096\n")) == 1
    assert len(inspection.drift_of_manifest(None)) == 1


def bundle(folder: Path, name: str, *, kind: str = "sandbox", process: str = "self") -> None:
    annotations = {"io.kubernetes.cri.container-type": kind}
    for part in ("namespace", "name", "uid"):
        annotations[f"io.kubernetes.cri.sandbox-{part}"] = f"{part}-{name}"
    (folder / name).mkdir(parents=True)
    (folder / name / "config.json").write_text(json.dumps({"annotations": annotations}))
    (folder / name / "init.pid").write_text(process)


def test_pods(tmp_path: Path) -> None:
    bundle(tmp_path, "b", process=str(os.getpid()))
    bundle(tmp_path, "a", process=str(os.getpid()))
    bundle(tmp_path, "container", kind="container", process=str(os.getpid()))
    bundle(tmp_path, "dead", process="999999999")
    (tmp_path / "half").mkdir()
    (tmp_path / "spoiled").mkdir()
    (tmp_path / "spoiled" / "config.json").write_text("{")
    pods = [Pod(f"namespace-{name}", f"name-{name}", f"uid-{name}") for name in ("a", "b")]
    assert list(read_pods(tmp_path)) == pods
    assert read_pods(tmp_path / "none") == ()


def test_firmware_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efivars, "_make_mutable", lambda path: None)
    variables = efivars.EfiVariables(tmp_path)
    assert variables.read_text("LoaderEntryOneShot", vendor=efivars.LOADER) is None
    variables.write_text("LoaderEntryOneShot", "sealwave-b.efi", vendor=efivars.LOADER)
    (file,) = tmp_path.iterdir()
    assert file.name == "LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
    assert file.read_bytes() == b"\x07\0\0\0" + "sealwave-b.efi\0".encode("utf-16-le")
    assert variables.read_text("LoaderEntryOneShot", vendor=efivars.LOADER) == "sealwave-b.efi"
    variables.delete("LoaderEntryOneShot", vendor=efivars.LOADER)
    variables.delete("LoaderEntryOneShot", vendor=efivars.LOADER)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LinuxPlatform:
    """A machine as it left the factory: both folders are mounted, and no default was ever set."""
    monkeypatch.setattr(efivars, "_make_mutable", lambda path: None)
    monkeypatch.setattr(layout, "EFI_VARIABLES", tmp_path / "efivars")
    monkeypatch.setattr(LinuxPlatform, "esp", tmp_path / "esp")
    (tmp_path / "efivars").mkdir()
    (tmp_path / "esp" / "EFI" / "Linux").mkdir(parents=True)
    (tmp_path / "esp" / "EFI" / "Linux" / "sealwave-a.efi").touch()
    efivars.EfiVariables(tmp_path / "efivars").write_text("LoaderInfo", "systemd-boot 257", vendor=efivars.LOADER)
    return LinuxPlatform()


def test_boot_choice(node: LinuxPlatform) -> None:
    assert node.boot_choice() == BootChoice(Slot.A, None)
    node.set_one_shot(Slot.B)
    assert node.boot_choice() == BootChoice(Slot.A, Slot.B)
    esp.remove_slot(node.esp, Slot.A)
    assert node.boot_choice().default is Slot.B
    node.set_default(Slot.A)
    assert node.boot_choice().default is Slot.A


def test_boot_choice_needs_a_readable_esp(node: LinuxPlatform) -> None:
    shutil.rmtree(node.esp / "EFI")
    with pytest.raises(PlatformFailed, match="listing the boot entries"):
        node.boot_choice()
    node.set_default(Slot.B)
    assert node.boot_choice().default is Slot.B


def test_boot_choice_needs_efivarfs(node: LinuxPlatform, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "efivars")
    with pytest.raises(PlatformFailed, match="LoaderInfo is not there"):
        node.boot_choice()


def test_data_is_cleaned_for_another_image(tmp_path: Path) -> None:
    for name in ("identity", "agent", "audit", "runtime/x", "lost+found"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "notes.txt").touch()
    clean_data(tmp_path, root_hash=HASH, keep=IMAGE.keep)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["agent", "audit", "identity", "lost+found"]
    (tmp_path / "runtime").mkdir()
    clean_data(tmp_path, root_hash=HASH, keep=IMAGE.keep)
    assert (tmp_path / "runtime").exists()
    clean_data(tmp_path, root_hash="0" * 64, keep=())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["agent", "identity", "lost+found"]


def test_without_its_manifest_only_the_runtime_goes(tmp_path: Path) -> None:
    for name in ("identity", "agent", "audit", "runtime/x", "notes"):
        (tmp_path / name).mkdir(parents=True)
    clean_data(tmp_path, root_hash=HASH, keep=None)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["agent", "audit", "identity", "notes"]
    clean_data(tmp_path, root_hash=HASH, keep=IMAGE.keep)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["agent", "audit", "identity"]


def test_prepare_frees_a_full_data_partition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_data(tmp_path, root_hash=HASH, keep=IMAGE.keep)
    for name in ("audit", "runtime/x"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(prepare, "_room", lambda data: 1024)
    clean_data(tmp_path, root_hash=HASH, keep=IMAGE.keep)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["agent", "audit"]


def test_prepare_with_a_spoiled_memory(tmp_path: Path, v1: FakeImage, trust: Trust) -> None:
    machine = Machine.make(tmp_path / "node", v1, trust)
    assert prepare.record_boot(machine) == "first-boot"
    (machine.data / "agent" / "state.json").write_text("spoiled")
    assert prepare.record_boot(machine) == "unknown"


def test_run_files(tmp_path: Path) -> None:
    settings = tmp_path / "kubelet.json"
    assert image_settings(settings) == {}
    settings.write_text('{"maxPods": 64, "failSwapOn": false}')
    run = tmp_path / "run"
    write_run_files(CONFIG, image_settings(settings), run=run, cni=tmp_path / "cni")
    written = json.loads((run / "kubelet.yaml").read_text())
    assert (written["maxPods"], written["failSwapOn"], written["readOnlyPort"]) == (64, False, 0)
    assert (run / "kubelet.env").read_text() == "NODE_NAME=node-1\nNODE_LABELS=example.com/pool=workers\n"
    bootstrap = json.loads((run / "bootstrap.kubeconfig").read_text())
    assert bootstrap["users"][0]["user"] == {"token": "abcdef.0123456789abcdef"}
    assert (run / "bootstrap.kubeconfig").stat().st_mode & 0o777 == 0o600
    network = json.loads((tmp_path / "cni" / "10-bridge.conflist").read_text())
    assert network["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.244.1.0/24"}]]
    assert not (run / "kubelet.kubeconfig").exists()


def test_later_boots_use_the_kubelets_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = tmp_path / "kubelet-client-current.pem"
    certificate.touch()
    monkeypatch.setattr(kubelet, "CLIENT_CERTIFICATE", str(certificate))
    write_run_files(CONFIG, {}, run=tmp_path / "run", cni=tmp_path / "cni")
    written = json.loads((tmp_path / "run" / "kubelet.kubeconfig").read_text())
    assert written["users"][0]["user"]["client-certificate"] == str(certificate)
    assert written["clusters"][0]["cluster"]["server"] == "https://10.0.2.2:6443"


def test_last_resort_needs_no_python() -> None:
    units = Path(prepare.__file__).parent / "units"
    service = (units / "sealwave-last-resort.service").read_text()
    assert "Exec" not in service
    assert f"ConditionPathExists=!{layout.COMMITTED}\n" in service
    assert "SuccessAction=reboot-force\n" in service
    schema = json.loads((units.parent / "config.schema.json").read_text())
    longest = schema["properties"]["commitWindowSeconds"]["maximum"]
    timer = (units / "sealwave-last-resort.timer").read_text()
    assert f"OnBootSec={longest // 3600 + 1}h\n" in timer
    assert "WantedBy=timers.target\n" in timer


@pytest.mark.parametrize("arguments", [[], ["shell"], ["prepare", "serve"]], ids=["none", "unknown", "two"])
def test_command_line_refuses(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(arguments) == 2
    assert capsys.readouterr().err.startswith("sealwave: error: give one command of prepare, serve")


def test_command_line_without_a_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["serve"]) == 2
    assert "the machine's configuration cannot be used" in capsys.readouterr().err
