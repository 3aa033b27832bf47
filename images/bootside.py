"""What every root tree gets from us for its way up: mounts, network, watchdog, and no way in for a person at a console.

`install` is the last step of configuring a tree. It copies `agent/units/root`, masks what has no sense on a node whose
root is sealed and whose /var is memory, and removes the generators that turn unsigned input (command line additions,
credentials, devices) into units.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from sealwave.images.errors import ImageError

OWN_FILES: Final = Path(__file__).parent / "agent" / "units" / "root"

GENERATORS_KEPT: Final = ("systemd-fstab-generator", "systemd-veritysetup-generator")
"""The mounts of /etc/fstab and of systemd.volatile=, and the root's own verity device. Nothing else may make units."""

MASKED: Final = (
    # A sealed root has its users, caches and links already, and could not store them.
    "ldconfig.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-machine-id-commit.service",
    "systemd-sysusers.service",
    "systemd-update-done.service",
    "e2scrub_reap.service",
    "e2scrub_all.timer",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    # /var is memory: there is nothing to carry over a reboot.
    "systemd-journal-flush.service",
    "systemd-random-seed.service",
    "systemd-hibernate-clear.service",
    # Only the driver, or the node's own policy, commits a boot.
    "systemd-bless-boot.service",
    "boot-complete.target",
    # Nobody logs in.
    "getty.target",
    "console-getty.service",
    "systemd-logind.service",
    "systemd-user-sessions.service",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    # Extensions and credentials are unsigned additions.
    "systemd-sysext.service",
    "systemd-sysext.socket",
    "systemd-confext.service",
    "systemd-creds.socket",
    "systemd-hostnamed.socket",
    "systemd-initctl.socket",
    "systemd-pcrlock.socket",
    "systemd-udev-load-credentials.service",
    # The root is read-only and stays it; the interfaces are described by our own file, not by the command line.
    "systemd-remount-fs.service",
    "systemd-network-generator.service",
    "systemd-networkd-persistent-storage.service",
    # Not used, and each costs time on every boot.
    "proc-sys-fs-binfmt_misc.automount",
    "dev-mqueue.mount",
    "run-lock.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-tpm2-setup-early.service",
    "systemd-tpm2-setup.service",
    "systemd-pcrmachine.service",
    "systemd-pcrphase.service",
    "systemd-pcrphase-sysinit.service",
)

_REMOVED: Final = (
    # Volatile files that would be made in a root that cannot be written, or from credentials.
    "usr/lib/tmpfiles.d/20-systemd-shell-extra.conf",
    "usr/lib/tmpfiles.d/20-systemd-ssh-generator.conf",
    "usr/lib/tmpfiles.d/credstore.conf",
    "usr/lib/tmpfiles.d/debian.conf",
    "usr/lib/tmpfiles.d/home.conf",
    "usr/lib/tmpfiles.d/journal-nocow.conf",
    "usr/lib/tmpfiles.d/provision.conf",
    "usr/lib/tmpfiles.d/x11.conf",
    # Rules for desks and players; every rule is asked about every device.
    "usr/lib/udev/rules.d/60-cdrom_id.rules",
    "usr/lib/udev/rules.d/60-fido-id.rules",
    "usr/lib/udev/rules.d/60-persistent-alsa.rules",
    "usr/lib/udev/rules.d/60-persistent-input.rules",
    "usr/lib/udev/rules.d/60-persistent-storage-mtd.rules",
    "usr/lib/udev/rules.d/60-persistent-storage-tape.rules",
    "usr/lib/udev/rules.d/60-persistent-v4l.rules",
    "usr/lib/udev/rules.d/60-sensor.rules",
    "usr/lib/udev/rules.d/64-btrfs.rules",
    "usr/lib/udev/rules.d/70-camera.rules",
    "usr/lib/udev/rules.d/70-joystick.rules",
    "usr/lib/udev/rules.d/70-mouse.rules",
    "usr/lib/udev/rules.d/70-touchpad.rules",
    "usr/lib/udev/rules.d/70-uaccess.rules",
    "usr/lib/udev/rules.d/71-seat.rules",
    "usr/lib/udev/rules.d/73-seat-late.rules",
    "usr/lib/udev/rules.d/75-probe_mtd.rules",
    "usr/lib/udev/rules.d/78-sound-card.rules",
    "usr/lib/udev/rules.d/80-debian-compat.rules",
    "usr/lib/udev/rules.d/81-net-dhcp.rules",
    "usr/lib/udev/rules.d/96-e2scrub.rules",
)

_ENABLED: Final = {
    "multi-user.target.wants": ("systemd-networkd.service", "sealwave-console.service"),
    "sockets.target.wants": ("systemd-networkd.socket",),
    "network-online.target.wants": ("systemd-networkd-wait-online.service",),
}

_FOLDERS: Final = ("data", "efi")
"""Mount points that Debian does not have."""


def install(tree: Path) -> None:
    """Put our boot side into a root tree; doing it twice is the same as once.

    Raises:
        ImageError: the tree lacks systemd.
    """
    units = tree / "usr/lib/systemd/system"
    if not units.is_dir():
        raise ImageError(f"the root tree {tree} holds no systemd; add the package systemd to the spec")
    for own in sorted(OWN_FILES.rglob("*")):
        if own.is_file():
            target = tree / own.relative_to(OWN_FILES)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(own, target)
            target.chmod(0o644)
    for name in _FOLDERS:
        (tree / name).mkdir(mode=0o755, exist_ok=True)
    # An empty file is where systemd mounts the machine id that it derives from the firmware's UUID.
    (tree / "etc/machine-id").write_bytes(b"")
    # systemd sets a clock that is behind this file's time (the lock's epoch) to it: certificates are then not in the
    # future of a machine whose clock battery is empty.
    (tree / "usr/lib/clock-epoch").write_bytes(b"")
    settings = tree / "etc/systemd/system"
    settings.mkdir(parents=True, exist_ok=True)
    for unit in MASKED:
        _link(settings / unit, "/dev/null")
    for folder, wanted in _ENABLED.items():
        for unit in wanted:
            if not (units / unit).exists():
                raise ImageError(f"the root tree {tree} lacks the unit {unit}; add its package to the spec")
            (settings / folder).mkdir(exist_ok=True)
            _link(settings / folder / unit, f"/usr/lib/systemd/system/{unit}")
    _link(settings / "default.target", "/usr/lib/systemd/system/multi-user.target")
    # What systemd would link at boot, were the root writable.
    _link(tree / "etc/mtab", "../proc/self/mounts")
    for name in _REMOVED:
        (tree / name).unlink(missing_ok=True)
    for generator in sorted((tree / "usr/lib/systemd/system-generators").iterdir()):
        if generator.name not in GENERATORS_KEPT:
            generator.unlink()


def _link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)
