"""KVM is used when a kernel was seen to print under it, and what was seen is kept until the host boots again."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from sealwave.infra.lab import accelerator
from sealwave.infra.lab.accelerator import KVM, TCG, choose


def _uki(path: Path) -> Path:
    """The least that has a `.linux` section."""
    header = 0x80
    image = bytearray(0x200)
    struct.pack_into("<I", image, 0x3C, header)
    struct.pack_into("<6xH12xH", image, header, 1, 0)
    struct.pack_into("<8sIIII", image, header + 24, b".linux", 6, 0, 6, 0x200)
    path.write_bytes(bytes(image) + b"kernel")
    return path


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Kernels that were tried; each hangs."""
    tried: list[bytes] = []

    def hangs(kernel: bytes) -> bool:
        tried.append(kernel)
        return False

    monkeypatch.setattr(accelerator, "_boots", hangs)
    monkeypatch.setattr("os.access", lambda *_: True)
    return tried


def test_a_kernel_that_hangs_means_emulation_and_is_tried_once(tmp_path: Path, probes: list[bytes]) -> None:
    uki, cache = _uki(tmp_path / "uki.efi"), tmp_path / "verdict.json"
    assert choose(uki, cache) is TCG
    assert choose(uki, cache) is TCG
    assert probes == [b"kernel"]


def test_a_kernel_that_prints_means_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probes: list[bytes]) -> None:
    monkeypatch.setattr(accelerator, "_boots", lambda kernel: True)
    assert choose(_uki(tmp_path / "uki.efi"), tmp_path / "verdict.json") is KVM


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(json.dumps({"boot": "another boot", "kvm": True}), id="another boot of the host"),
        pytest.param("{", id="cut short"),
        pytest.param("[]", id="another kind of JSON"),
    ],
)
def test_a_verdict_that_does_not_hold_is_not_believed(tmp_path: Path, probes: list[bytes], kept: str) -> None:
    cache = tmp_path / "verdict.json"
    cache.write_text(kept)
    assert choose(_uki(tmp_path / "uki.efi"), cache) is TCG
    assert len(probes) == 1


def test_without_the_device_nothing_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probes: list[bytes]
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    assert choose(_uki(tmp_path / "uki.efi"), tmp_path / "verdict.json") is TCG
    assert probes == []


@pytest.mark.parametrize(
    ("program", "works"),
    [
        pytest.param(
            "print('Linux version 6', flush=True); import time; time.sleep(60)", True, id="prints and goes on"
        ),
        pytest.param("print('firmware', flush=True); import time; time.sleep(60)", False, id="hangs"),
        pytest.param("raise SystemExit(1)", False, id="ends at once"),
    ],
)
def test_only_the_first_words_count(monkeypatch: pytest.MonkeyPatch, program: str, works: bool) -> None:
    monkeypatch.setattr(accelerator, "PROBE_LIMIT", 2.0)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert accelerator._says_first_words(process) is works
    finally:
        process.kill()
        process.communicate()
