from __future__ import annotations

from pathlib import Path

import pytest

from sealwave.images.errors import CheckFailed
from sealwave.images.prune import check_stripped, expand, leads_somewhere, leftovers, slim, strip

KERNEL = "6.12.1-cloud"


def put(tree: Path, path: str, content: str = "x", *, mode: int = 0o644) -> Path:
    place = tree / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content)
    place.chmod(mode)
    return place


def link(tree: Path, path: str, target: str) -> Path:
    place = tree / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
    return place


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A little of what Debian's packages leave, with every kind of thing that must go."""
    tree = tmp_path / "tree"
    for program in (
        "usr/bin/dash",
        "usr/bin/bash",
        "usr/bin/perl5.40.1",
        "usr/bin/apt-get",
        "usr/bin/dpkg",
        "usr/bin/su",
    ):
        put(tree, program, "\x7fELF", mode=0o755)
    link(tree, "usr/bin/sh", "dash")
    link(tree, "usr/bin/rbash", "bash")
    link(tree, "bin", "usr/bin")
    put(tree, "usr/bin/mount", "\x7fELF", mode=0o4755)
    put(tree, "usr/bin/python3", "\x7fELF", mode=0o755)
    put(tree, "usr/bin/zcat", "#!/bin/sh\n", mode=0o755)
    put(tree, "usr/bin/tool", "#!/usr/bin/python3 -I\n", mode=0o755)
    link(tree, "usr/bin/awk", "/etc/alternatives/awk")
    link(tree, "etc/alternatives/awk", "/usr/bin/mount")
    link(tree, "etc/resolv.conf", "/run/resolv.conf")
    put(tree, "etc/passwd", "root:x:0:0:root:/root:/bin/bash\n")
    put(tree, "etc/shadow", "root:$y$secret:20000:0:99999:7:::\n")
    put(tree, "etc/machine-id", "abc\n")
    put(tree, "var/log/dpkg.log")
    put(tree, "tmp/pyinfra-scratch")
    put(tree, "usr/lib/systemd/system/getty@.service")
    put(tree, "usr/lib/systemd/system/rescue.service")
    return tree


def paths(tree: Path) -> set[str]:
    return {str(path.relative_to(tree)) for path in tree.rglob("*")}


def test_nothing_that_gives_a_prompt_is_left(tree: Path) -> None:
    strip(tree)
    check_stripped(tree)
    left = paths(tree)
    for gone in ("sh", "dash", "bash", "rbash", "perl5.40.1", "apt-get", "dpkg", "su", "zcat"):
        assert f"usr/bin/{gone}" not in left
    assert "usr/lib/systemd/system/getty@.service" not in left


def test_what_can_still_run_stays(tree: Path) -> None:
    strip(tree)
    left = paths(tree)
    assert {
        "usr/bin/mount",
        "usr/bin/python3",
        "usr/bin/tool",
        "usr/bin/awk",
        "usr/lib/systemd/system/rescue.service",
    } <= left
    assert (tree / "etc/resolv.conf").is_symlink()


def test_no_state_and_no_right_to_become_root_is_left(tree: Path) -> None:
    strip(tree)
    assert (tree / "usr/bin/mount").stat().st_mode & 0o7777 == 0o755
    assert (tree / "etc/machine-id").read_bytes() == b""
    assert not list((tree / "tmp").iterdir())
    assert not list((tree / "var/log").iterdir())


def test_accounts_are_closed(tree: Path) -> None:
    strip(tree)
    assert (tree / "etc/passwd").read_text() == "root:x:0:0:root:/root:/usr/sbin/nologin\n"
    assert (tree / "etc/shadow").read_text() == "root:!*::0:99999:7:::\n"


@pytest.mark.parametrize(
    ("path", "content", "mode", "reason"),
    [
        ("opt/vendor/bash", "\x7fELF", 0o755, "opt/vendor/bash"),
        ("usr/sbin/sshd", "\x7fELF", 0o755, "usr/sbin/sshd"),
        ("usr/bin/helper", "\x7fELF", 0o4755, r"usr/bin/helper \(set-user-id\)"),
        ("etc/tls/key.pem", "-----BEGIN PRIVATE KEY-----\nMII=\n", 0o600, r"etc/tls/key\.pem \(a private key\)"),
    ],
)
def test_what_may_not_be_in_an_image_fails_the_build(
    tree: Path, path: str, content: str, mode: int, reason: str
) -> None:
    strip(tree)
    put(tree, path, content, mode=mode)
    with pytest.raises(CheckFailed, match=reason):
        check_stripped(tree)


def test_names_of_shells_are_known_and_others_are_not() -> None:
    assert leftovers(["usr/bin/busybox", "bin/zsh", "usr/bin/sha256sum", "usr/bin/flash", "usr/bin/apt"]) == [
        "bin/zsh",
        "usr/bin/apt",
        "usr/bin/busybox",
    ]


def test_links_are_followed_inside_the_tree(tree: Path) -> None:
    link(tree, "usr/bin/circle", "circle")
    link(tree, "usr/bin/up", "../../../../usr/bin/mount")
    assert leads_somewhere(tree, tree / "usr/bin/awk")
    assert leads_somewhere(tree, tree / "usr/bin/up")
    assert leads_somewhere(tree, tree / "bin/mount")
    assert not leads_somewhere(tree, tree / "usr/bin/circle")
    assert not leads_somewhere(tree, tree / "etc/resolv.conf")


def test_weight_goes_and_one_time_zone_stays(tree: Path) -> None:
    put(tree, "usr/share/doc/x/README")
    put(tree, "usr/lib/cni/dhcp")
    put(tree, "usr/lib/cni/bridge")
    put(tree, "usr/lib/python3/dist-packages/a/tests/test_a.py")
    put(tree, "usr/lib/python3/dist-packages/a/__pycache__/a.pyc")
    put(tree, "usr/share/zoneinfo/Etc/UTC", "TZif")
    put(tree, "usr/share/zoneinfo/Europe/Rome")
    slim(tree, kernel=KERNEL, modules=())
    left = paths(tree)
    assert "usr/lib/cni/bridge" in left
    assert not {"usr/share/doc", "usr/lib/cni/dhcp", "usr/share/zoneinfo/Europe"} & left
    assert not any("tests" in path or "__pycache__" in path for path in left)
    assert (tree / "etc/localtime").readlink() == Path("/usr/share/zoneinfo/Etc/UTC")


def test_modules_stay_with_what_they_need(tree: Path) -> None:
    folder = f"usr/lib/modules/{KERNEL}"
    names = (
        "kernel/fs/fat/vfat.ko",
        "kernel/fs/fat/fat.ko",
        "kernel/lib/crc.ko",
        "kernel/sound/snd.ko",
        "kernel/fsx/y.ko",
    )
    for name in names:
        put(tree, f"{folder}/{name}")
    table = "kernel/fs/fat/vfat.ko: kernel/fs/fat/fat.ko kernel/lib/crc.ko\n" + "".join(
        f"{name}:\n" for name in names[1:]
    )
    put(tree, f"{folder}/modules.dep", table)
    slim(tree, kernel=KERNEL, modules=["fs"])
    assert {path for path in paths(tree) if path.endswith(".ko")} == {f"{folder}/{name}" for name in names[:3]}


def test_choices_are_expanded() -> None:
    assert expand("a/{b,c}/d") == ["a/b/d", "a/c/d"]
    assert expand("a/b") == ["a/b"]
