"""The initrd: systemd, udev, kmod and systemd-veritysetup, cut from the root tree: enough to find and check the root.

Rules:
1. Every file comes from the finished root tree (and so from the lock) or from `agent/units/initrd`; nothing is built.
2. It holds no shell, no login, no journal, no network, and none of the generators that turn unsigned input into units:
   only the two that read root hash and `/etc/fstab`.
3. What cannot go on reboots. `initrd.target` of stock systemd ends in an emergency shell, before which PID 1 would wait
   for ever and keep the watchdog fed; our emergency.service reboots instead, so that a spoiled slot leads back to the
   other one.
4. The archive is a function of the tree: sorted entries, one time stamp, no compression threads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from sealwave.images import cpio, elf
from sealwave.images.errors import ImageError
from sealwave.images.sandbox import Sandbox

_PROGRAMS: Final = (
    "usr/lib/systemd/systemd",
    "usr/lib/systemd/systemd-executor",
    "usr/lib/systemd/systemd-modules-load",
    "usr/lib/systemd/systemd-shutdown",
    "usr/lib/systemd/systemd-udevd",
    "usr/lib/systemd/systemd-veritysetup",
    "usr/lib/systemd/system-generators/systemd-fstab-generator",
    "usr/lib/systemd/system-generators/systemd-veritysetup-generator",
    "usr/bin/kmod",
    "usr/bin/mount",
    "usr/bin/systemctl",
    "usr/bin/udevadm",
    "usr/sbin/dmsetup",
)

_OPENED_LIBRARIES: Final = ("libkmod.so.2",)
"""Libraries that systemd and udev open by themselves, and so do not name in their headers."""

_LIBRARY_FOLDERS: Final = ("usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/systemd", "usr/lib/systemd")

_UNITS: Final = (
    "basic.target",
    "dev-hugepages.mount",
    "final.target",
    "initrd-cleanup.service",
    "initrd-fs.target",
    "initrd-root-device.target",
    "initrd-root-fs.target",
    "initrd-switch-root.service",
    "initrd-switch-root.target",
    "initrd-udevadm-cleanup-db.service",
    "initrd-usr-fs.target",
    "initrd.target",
    "kmod-static-nodes.service",
    "local-fs-pre.target",
    "local-fs.target",
    "modprobe@.service",
    "paths.target",
    "reboot.target",
    "shutdown.target",
    "slices.target",
    "sockets.target",
    "swap.target",
    "sysinit.target",
    "system-systemd\\x2dveritysetup.slice",
    "systemd-modules-load.service",
    "systemd-reboot.service",
    "systemd-udev-trigger.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udevd.service",
    "timers.target",
    "umount.target",
    "veritysetup-pre.target",
    "veritysetup.target",
)

_WANTED: Final = {
    # Stock systemd comes here by way of initrd-parse-etc, which looks for mounts of the initrd in the real root's fstab
    # and reloads every unit. There are none of them by design.
    "initrd.target": ("initrd-cleanup.service",),
    "sockets.target": ("systemd-udevd-control.socket", "systemd-udevd-kernel.socket"),
    "sysinit.target": (
        "kmod-static-nodes.service",
        "systemd-modules-load.service",
        "systemd-udev-trigger.service",
        "systemd-udevd.service",
        "veritysetup.target",
    ),
}

_UDEV_RULES: Final = (
    "50-udev-default.rules",
    "55-dm.rules",
    "60-block.rules",
    "60-persistent-storage-dm.rules",
    "60-persistent-storage.rules",
    "80-drivers.rules",
    "95-dm-notify.rules",
    "99-systemd.rules",
)

MODULES: Final = ("virtio_blk", "virtio_scsi", "sd_mod", "nvme", "dm_verity", "erofs", "efivarfs", "i6300esb")
"""Kernel modules that the way to the root may need: disks, the file system, verity, and a watchdog for that very way.
A name that is built into the kernel needs no file; one that the kernel does not know is an error."""

_LOADED: Final = ("dm_verity", "erofs", "efivarfs")
"""Those that no device announces; udev loads the others by the device's alias."""

OWN_FILES: Final = Path(__file__).parent / "agent" / "units" / "initrd"
"""Our units and settings: copied over the systemd's own, under usr/lib/systemd."""


def build(tree: Path, *, kernel: str, epoch: int, tools: Sandbox) -> bytes:
    """Cut the initrd from a root tree and return it compressed (zstd).

    Args:
        tree: the finished root tree.
        kernel: the kernel's release, a folder name under usr/lib/modules.
        epoch: SOURCE_DATE_EPOCH, the time stamp of every entry.
        tools: runs depmod and zstd.

    Raises:
        ImageError: the tree lacks a file or a module.
        ToolFailed: a tool failed.
    """
    entries = collect(tree)
    entries.update(_modules(tree, kernel=kernel, tools=tools))
    raw = cpio.archive(entries, mtime=epoch)
    return tools.run(["zstd", "-q", "-12", "--single-thread", "--no-check", "-c", "-"], stdin=raw)


def collect(tree: Path) -> dict[str, cpio.Entry]:
    """Gather everything but the kernel modules, by path inside the initrd."""
    entries: dict[str, cpio.Entry] = {
        name: cpio.folder() for name in ("dev", "proc", "run", "sys", "sysroot", "tmp", "var", "etc", "root")
    }
    entries.update({name: cpio.link(f"usr/{name}") for name in ("bin", "sbin", "lib", "lib64")})
    entries["init"] = cpio.link("usr/lib/systemd/systemd")
    entries["etc/initrd-release"] = cpio.regular(_read(tree, "usr/lib/os-release"))
    entries["etc/modules-load.d/sealwave.conf"] = cpio.regular("".join(f"{name}\n" for name in _LOADED).encode())
    for name in ("etc/passwd", "etc/group"):
        entries[name] = cpio.regular(_read(tree, name))
    for name in _PROGRAMS:
        entries[name] = cpio.regular(_read(tree, name), 0o755)
    entries["usr/sbin/modprobe"] = cpio.link("../bin/kmod")
    for name in _UDEV_RULES:
        entries[f"usr/lib/udev/rules.d/{name}"] = cpio.regular(_read(tree, f"usr/lib/udev/rules.d/{name}"))
    for name in _UNITS:
        entries[f"usr/lib/systemd/system/{name}"] = cpio.regular(_read(tree, f"usr/lib/systemd/system/{name}"))
    entries["usr/lib/systemd/system/default.target"] = cpio.link("initrd.target")
    for target, units in _WANTED.items():
        for unit in units:
            entries[f"usr/lib/systemd/system/{target}.wants/{unit}"] = cpio.link(f"../{unit}")
    for own in sorted(OWN_FILES.rglob("*")):
        if own.is_file():
            entries[f"usr/lib/systemd/{own.relative_to(OWN_FILES)}"] = cpio.regular(own.read_bytes())
    entries.update(_libraries(tree, entries))
    return entries


def _libraries(tree: Path, entries: Mapping[str, cpio.Entry]) -> dict[str, cpio.Entry]:
    """Follow what the programs are linked against until nothing new appears."""
    found: dict[str, cpio.Entry] = {}
    wanted = set(_OPENED_LIBRARIES)
    for path in _PROGRAMS:
        wanted |= _linked(entries[path].content)
    while wanted:
        name = wanted.pop()
        if name.startswith("/"):
            path = str(Path("usr") / name.lstrip("/")) if not name.startswith("/usr/") else name.lstrip("/")
        else:
            path = _library_path(tree, name)
        if path in found:
            continue
        content = _read(tree, path)
        found[path] = cpio.regular(content, 0o755)
        wanted |= _linked(content)
    return found


def _linked(content: bytes) -> set[str]:
    linked = elf.links(content)
    # The loader is asked for by its path in programs and by its bare name in libraries: the path is enough.
    names = {name for name in linked.needed if not name.startswith("ld-linux")}
    return names | ({linked.interpreter} if linked.interpreter else set())


def _library_path(tree: Path, name: str) -> str:
    for folder in _LIBRARY_FOLDERS:
        if (tree / folder / name).exists():
            return f"{folder}/{name}"
    raise ImageError(f"the root tree lacks the library {name}, which the initrd needs; add its package to the spec")


def _modules(tree: Path, *, kernel: str, tools: Sandbox) -> dict[str, cpio.Entry]:
    """Take the modules with what they depend on, and index them by depmod."""
    base = f"usr/lib/modules/{kernel}"
    dependencies = parse_dependencies(_read(tree, f"{base}/modules.dep").decode())
    built_in = {module_name(line) for line in _read(tree, f"{base}/modules.builtin").decode().split()}
    paths = select_modules(MODULES, dependencies, built_in=built_in, kernel=kernel)
    files = {path: _read(tree, f"{base}/{path}") for path in paths}
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        files[name] = _read(tree, f"{base}/{name}")
    with TemporaryDirectory(prefix="sealwave-initrd-") as scratch:
        root = Path(scratch)
        for path, content in files.items():
            target = root / base / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        (root / "lib").symlink_to("usr/lib")
        tools.run(["depmod", "-b", str(root), kernel], write=[root])
        files.update({path.name: path.read_bytes() for path in (root / base).glob("modules.*")})
    return {f"{base}/{path}": cpio.regular(content) for path, content in files.items()}


def module_name(path: str) -> str:
    """Return the name by which modprobe knows a module file: `kernel/drivers/md/dm-verity.ko.xz` is `dm_verity`."""
    return re.sub(r"\.ko(\.\w+)?$", "", path.rsplit("/", 1)[-1]).replace("-", "_")


def parse_dependencies(text: str) -> dict[str, tuple[str, ...]]:
    """Read modules.dep: module file -> module files that it needs, all relative to the modules folder."""
    table: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        path, _, needed = line.partition(":")
        table[path.strip()] = tuple(needed.split())
    return table


def select_modules(
    names: Iterable[str], dependencies: Mapping[str, tuple[str, ...]], *, built_in: set[str], kernel: str
) -> tuple[str, ...]:
    """Return the files of the named modules and of everything that they depend on, sorted.

    Raises:
        ImageError: a name is neither a module of this kernel nor built in.
    """
    by_name = {module_name(path): path for path in dependencies}
    chosen: set[str] = set()
    for name in names:
        path = by_name.get(name)
        if path is not None:
            chosen |= {path, *dependencies[path]}
        elif name not in built_in:
            raise ImageError(f"the kernel {kernel} has no module {name}, which the initrd needs; choose another kernel")
    return tuple(sorted(chosen))


def _read(tree: Path, path: str) -> bytes:
    try:
        return _inside(tree, path).read_bytes()
    except OSError as error:
        raise ImageError(f"the root tree lacks {path}, which the initrd needs; add its package to the spec") from error


def _inside(tree: Path, path: str) -> Path:
    """Resolve a path with its links as the booted system would: absolute targets start at the tree, not the host."""
    at = tree
    parts = path.split("/")
    for _ in range(64):
        if not parts:
            return at
        part, *parts = parts
        if part == "..":
            at = at.parent if at != tree else at
            continue
        step = at / part
        if not step.is_symlink():
            at = step
            continue
        target = str(step.readlink())
        if target.startswith("/"):
            at = tree
        parts = [piece for piece in target.split("/") if piece not in ("", ".")] + parts
    raise ImageError(f"{path} in the root tree is a loop of links")
