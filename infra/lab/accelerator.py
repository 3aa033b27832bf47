"""Whether this host's KVM runs a stock kernel, found out by trying, with a time limit.

`/dev/kvm` may exist and a guest kernel still hang in it (nested and paravirtual hosts): only a kernel that prints its
first line is evidence. The verdict is kept until the host boots again.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from sealwave.signing.files import write_atomic

__all__ = ["KVM", "TCG", "Accelerator", "choose", "kernel_of"]

QEMU = "/usr/bin/qemu-system-x86_64"
# Seconds. A kernel under a working KVM prints its first line within 1.
PROBE_LIMIT = 12.0
FIRST_WORDS = b"Linux version"


@dataclass(frozen=True)
class Accelerator:
    """How QEMU runs the guest's instructions."""

    name: str
    arguments: tuple[str, ...]


KVM = Accelerator("kvm", ("-accel", "kvm", "-cpu", "host"))
# Without 57-bit addresses the emulated page walk has one level less.
TCG = Accelerator("tcg", ("-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,la57=off"))


def choose(uki: Path, cache: Path) -> Accelerator:
    """KVM when it boots the kernel inside `uki`, else TCG; the verdict is read from and written to the file `cache`."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    with contextlib.suppress(OSError, ValueError, AttributeError):
        kept = json.loads(cache.read_bytes())
        if kept.get("boot") == boot:
            return KVM if kept.get("kvm") is True else TCG
    works = os.access("/dev/kvm", os.R_OK | os.W_OK) and _boots(kernel_of(uki.read_bytes()))
    write_atomic(cache, json.dumps({"boot": boot, "kvm": works}).encode())
    return KVM if works else TCG


def kernel_of(uki: bytes) -> bytes:
    """The `.linux` section of a unified kernel image; ValueError when it has none.

    PE layout: the offset of the header at 0x3c, the number of sections at +6 and the size of the optional header at +20
    in it, then one 40-byte row for each section: name, virtual size, address, raw size, raw offset.
    """
    try:
        (header,) = struct.unpack_from("<I", uki, 0x3C)
        sections, optional = struct.unpack_from("<6xH12xH", uki, header)
        for index in range(sections):
            row = header + 24 + optional + 40 * index
            name, virtual, _, raw, offset = struct.unpack_from("<8sIIII", uki, row)
            if name.rstrip(b"\0") == b".linux":
                return uki[offset : offset + min(raw, virtual)]
    except struct.error as error:
        raise ValueError("not a PE file") from error
    raise ValueError("no .linux section")


def _boots(kernel: bytes) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel"
        path.write_bytes(kernel)
        machine = ["-machine", "q35", "-nodefaults", "-no-user-config", "-display", "none", "-m", "512"]
        guest = ["-serial", "stdio", "-kernel", str(path), "-append", "console=ttyS0 panic=-1", "-no-reboot"]
        process = subprocess.Popen(
            [QEMU, *machine, *KVM.arguments, *guest],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return _says_first_words(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def _says_first_words(process: subprocess.Popen[bytes]) -> bool:
    assert process.stdout is not None
    seen, end = b"", time.monotonic() + PROBE_LIMIT
    while (left := end - time.monotonic()) > 0:
        ready, _, _ = select.select([process.stdout], [], [], left)
        if not ready:
            return False
        chunk = os.read(process.stdout.fileno(), 4096)
        seen += chunk
        if FIRST_WORDS in seen:
            return True
        if not chunk:
            return False
    return False
