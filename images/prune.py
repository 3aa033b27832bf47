"""What does not get into an image: first the weight (`slim`), and last everything that gives a prompt (`strip`).

Rules:
1. Names of files decide, never guesses about who uses them: each list says why its entries go.
2. `slim` runs before the tree is configured, because configuring needs a shell; `strip` is the last to change the tree.
3. `strip` leaves a tree that `leftovers` finds nothing in. A build fails on anything that it does find.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sealwave.images.errors import CheckFailed

_WEIGHT = (
    "usr/share/{doc,man,info,locale,lintian,bug,menu,pixmaps,applications,bash-completion,zsh,fish,doc-base,dict}",
    "usr/share/{initramfs-tools,iproute2/examples,readline,tabset,base-files}",
    "usr/lib/udev/hwdb.d",  # names of hardware for people; 25 MB with its compiled form
    "usr/lib/udev/hwdb.bin",
    "etc/udev/hwdb.bin",
    "usr/lib/x86_64-linux-gnu/gconv",  # character sets other than UTF-8
    "usr/lib/klibc*",  # the initrd tools' own small shell
    "usr/lib/x86_64-linux-gnu/libklibc*",
    "usr/lib/klibc-*.so",
    "usr/lib/cni/{bandwidth,dhcp,firewall,host-device,ipvlan,macvlan,ptp,sbr,static,tuning,vlan,vrf,dummy,tap}",
    "usr/bin/{containerd-shim,containerd-shim-runc-v1,containerd-stress}",  # containerd 1.x starts runc-v2 only
    "usr/lib/python3*/{ensurepip,idlelib,test,tkinter,turtledemo,pydoc_data,lib2to3}",
    "usr/lib/python3*/config-3*",
    "usr/lib/python3/dist-packages/**/{tests,test,test_data}",
    "usr/bin/{c_rehash,deb-*,gzexe,lsinitramfs,unmkinitramfs,mkinitramfs,pygettext3*,pdb3*,pydoc3*,2to3*,py3*,chardet*,normalizer,jsonschema}",
    "usr/sbin/{mkinitramfs,update-initramfs,installkernel}",
    "etc/initramfs-tools",
    "etc/{cron.d,cron.daily,init.d,rc0.d,rc1.d,rc2.d,rc3.d,rc4.d,rc5.d,rc6.d,rcS.d,logrotate.d,update-motd.d}",
    "usr/lib/systemd/catalog",
    "vmlinuz*",  # links for boot loaders that we do not use
    "initrd.img*",
)
"""Large or needless files, as patterns with {a,b} choices, relative to the root of the tree."""

_PROMPT = (
    "usr/bin/{sh,bash,dash,rbash,bashbug,perl*,su,login,newgrp,chsh,sg,script,scriptlive,scriptreplay}",
    "usr/bin/{apt,apt-*,dpkg*,deb-system*,debconf*,update-alternatives,savelog,which.debianutils,run0,systemd-run}",
    "usr/bin/{linux-run-hooks,linux-check-removal,linux-update-symlinks,linux-version,kernel-install,run-parts}",
    "usr/sbin/{agetty,getty,sulogin,runuser,dpkg-*,add-shell,remove-shell,update-shells,update-passwd,service}",
    "usr/sbin/{invoke-rc.d,update-rc.d,pam-auth-update,pam_getenv,update-ca-certificates,iptables-apply,ip6tables-apply}",
    "usr/sbin/{e2scrub,e2scrub_all,fsck.btrfs}",
    "usr/{lib,libexec}/dpkg",
    "usr/lib/apt",
    "usr/lib/x86_64-linux-gnu/{perl,perl-base,perl5}",
    "usr/share/{perl,perl5,debconf,dpkg,polkit-1,debianutils}",
    "etc/{apt,dpkg,debconf.conf,bash.bashrc,profile,profile.d,skel,kernel,shells,ssh,inputrc}",
    "etc/{passwd-,group-,shadow-,gshadow-,subuid,subgid,subuid-,subgid-,.pwd.lock,machine-id}",
    "root/.*",
    # Units and generators that would give a prompt, or take orders from whoever started the machine.
    "usr/lib/systemd/system-generators/systemd-{debug,run,ssh,getty,rc-local,sysv,system-update}-generator",
    "usr/lib/systemd/system/{getty,console-getty,serial-getty,container-getty,autovt,debug-shell}*",
    "usr/lib/systemd/system/{e2scrub*,dpkg-*,apt-*,systemd-bless-boot*,systemd-firstboot*}",
    "usr/lib/systemd/system-generators/systemd-bless-boot-generator",
    "usr/lib/systemd/{systemd-sulogin-shell,systemd-ssh-proxy,ssh_config.d,systemd-debug-generator}",
    "usr/lib/systemd/system/*.wants/{getty*,e2scrub*,dpkg-*}",
    "etc/systemd/system/*.wants/{getty*,e2scrub*,dpkg-*}",
    "etc/systemd/system/getty.target.wants",
)
"""Shells, package managers, logins and the ways to get one."""

_STATE = (
    "dev",
    "run",
    "tmp",
    "var/tmp",
    "var/cache",
    "var/log",
    "var/lib/apt",
    "var/lib/dpkg",
    "var/lib/systemd",
    "var/lib/misc",
)
"""Folders that are emptied: on the node they stand in memory, and what a build left in them says when it ran."""

_PROGRAM_FOLDERS = ("usr/bin", "usr/sbin", "usr/lib", "usr/libexec", "etc")
"""Where programs and scripts stand."""

_LINKS_FOLLOWED = 256
"""Steps after which a chain of links is taken for a circle."""

_SHELLS = re.compile(
    r"^(ba|da|z|k|mk|c|tc|a|r|fi)?sh$|^busybox$|^perl|^apt(-|$)|^dpkg|^sshd?$|^(s?u|sudo|login|agetty)$"
)
"""Names of programs that must not be in a finished tree, wherever they stand."""


def expand(pattern: str) -> list[str]:
    """Every pattern that a pattern with one {a,b} choice stands for."""
    head, brace, rest = pattern.partition("{")
    if not brace:
        return [pattern]
    choices, _, tail = rest.partition("}")
    return [f"{head}{choice}{tail}" for choice in choices.split(",")]


def slim(tree: Path, *, kernel: str, modules: Sequence[str]) -> None:
    """Take out the weight; `modules` are the folders of kernel modules that stay (empty: all)."""
    _remove(tree, _WEIGHT)
    _zone(tree)
    if modules:
        _prune_modules(tree / "usr/lib/modules" / kernel, modules)
    for cache in list((tree / "usr").rglob("__pycache__")):
        shutil.rmtree(cache)  # compiled again later, in a form that does not hang on time stamps


def strip(tree: Path) -> None:
    """Take out shells, package managers and logins, empty what is state, and take every set-user-id bit."""
    _remove(tree, _PROMPT)
    for name in _STATE:
        folder = tree / name
        if folder.is_dir():
            for entry in list(folder.iterdir()):
                _delete(entry)
    _remove_dead_programs(tree)
    for path in walk(tree):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
            path.chmod(stat.S_IMODE(status.st_mode) & 0o777)
    (tree / "etc/machine-id").write_bytes(b"")
    _close_accounts(tree / "etc")


def _remove_dead_programs(tree: Path) -> None:
    """Take out links to programs that are gone, and scripts whose interpreter is gone: neither could ever run."""
    for folder in _PROGRAM_FOLDERS:
        for path in walk(tree / folder):
            if path.is_symlink():
                if path.parent.name in ("bin", "sbin") and not leads_somewhere(tree, path):
                    path.unlink()
            elif path.is_file() and os.access(path, os.X_OK):
                with path.open("rb") as stream:
                    first = stream.readline(256)
                interpreter = first[2:].split()[:1] if first.startswith(b"#!") else []
                if interpreter and not leads_somewhere(tree, tree / interpreter[0].decode().lstrip("/")):
                    path.unlink()


def leads_somewhere(tree: Path, path: Path) -> bool:
    """Whether a path of the tree leads to something, its links followed as a node would follow them."""
    at, parts = tree, list(path.relative_to(tree).parts)
    for _ in range(_LINKS_FOLLOWED):
        if not parts:
            return at.exists()
        step = parts.pop(0)
        if step == "..":
            at = at if at == tree else at.parent
        elif (at / step).is_symlink():
            target = (at / step).readlink()
            at = tree if target.is_absolute() else at
            parts = [part for part in target.parts if part != "/"] + parts
        else:
            at = at / step
    return False


def leftovers(paths: Iterable[str]) -> list[str]:
    """Which of these paths of a finished tree should not be there."""
    return sorted(path for path in paths if _SHELLS.match(path.rsplit("/", 1)[-1]) and "/bash-completion/" not in path)


def check_stripped(tree: Path) -> None:
    """Fail the build if a shell, a private key, a set-user-id file or a broken tree is left. Raises `CheckFailed`."""
    programs = [
        str(path.relative_to(tree))
        for path in walk(tree)
        if (path.parent.name in ("bin", "sbin") if path.is_symlink() else path.is_file() and os.access(path, os.X_OK))
    ]
    found = leftovers(programs)
    for path in walk(tree):
        if not path.is_symlink() and path.is_file():
            if path.lstat().st_mode & (stat.S_ISUID | stat.S_ISGID):
                found.append(f"{path.relative_to(tree)} (set-user-id)")
            if _is_private_key(path):
                found.append(f"{path.relative_to(tree)} (a private key)")
    if found:
        raise CheckFailed(
            f"the tree holds {', '.join(found[:5])}{' and more' if len(found) > 5 else ''}, which no image may; remove "
            "it in a deploy or drop its package"
        )


def walk(tree: Path) -> Iterator[Path]:
    """Everything below a folder in one fixed order, links not followed."""
    for folder, folders, files in os.walk(tree):
        folders.sort()
        for name in sorted([*folders, *files]):
            yield Path(folder, name)


def _remove(tree: Path, patterns: Iterable[str]) -> None:
    for pattern in patterns:
        for one in expand(pattern):
            for path in sorted(tree.glob(one)):
                _delete(path)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _zone(tree: Path) -> None:
    """A node keeps UTC: the one zone stays, the other four hundred go."""
    zones = tree / "usr/share/zoneinfo"
    utc = zones / "Etc/UTC"
    if utc.is_file():
        data = utc.read_bytes()
        shutil.rmtree(zones)
        utc.parent.mkdir(parents=True)
        utc.write_bytes(data)
        _delete(tree / "etc/localtime")
        (tree / "etc/localtime").symlink_to("/usr/share/zoneinfo/Etc/UTC")


def _prune_modules(folder: Path, kept: Sequence[str]) -> None:
    """Delete modules outside the kept folders, but none that a kept one depends on."""
    table = {}
    for line in (folder / "modules.dep").read_text(encoding="utf-8").splitlines():
        path, _, needed = line.partition(":")
        table[path] = needed.split()
    stay: set[str] = set()
    for path, wanted in table.items():
        inside = path.removeprefix("kernel/")
        if any(inside == name or inside.startswith(f"{name.rstrip('/')}/") for name in kept):
            stay |= {path, *wanted}
    for path in table:
        if path not in stay:
            (folder / path).unlink()


def _close_accounts(etc: Path) -> None:
    """No account has a shell, a password, or the day on which a build made it."""
    users, secrets = etc / "passwd", etc / "shadow"
    if users.is_file():
        lines = [line.rsplit(":", 1)[0] + ":/usr/sbin/nologin\n" for line in users.read_text("utf-8").splitlines()]
        users.write_text("".join(lines), encoding="utf-8")
    if secrets.is_file():
        fields = [line.split(":") for line in secrets.read_text("utf-8").splitlines()]
        lines = [":".join([name, "!*", "", *rest]) + "\n" for name, _, _, *rest in fields]
        secrets.write_text("".join(lines), encoding="utf-8")


def _is_private_key(path: Path) -> bool:
    if path.stat().st_size > 64 * 1024:
        return False
    data = path.read_bytes()
    return data.startswith(b"-----BEGIN") and b"PRIVATE KEY-----" in data
