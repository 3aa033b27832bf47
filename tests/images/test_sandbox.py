from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from sealwave.images.errors import HostLacks, ToolFailed
from sealwave.images.sandbox import Sandbox, run_program

BOX = Sandbox(Path("/tools"), epoch=7)


def test_a_program_sees_the_tools_and_what_is_named() -> None:
    line = BOX.command(["mkfs", Path("/out/x")], read=[Path("/in")], write=[Path("/out")])
    text = " ".join(line)
    assert line[0] == "bwrap"
    assert line[line.index("--") + 1 :] == ["mkfs", "/out/x"]
    assert "--ro-bind /tools/usr /usr" in text
    assert "--ro-bind /in /in --bind /out /out" in text
    assert "--ro-bind / /" not in text


def test_there_is_no_network_no_environment_and_no_right() -> None:
    line = BOX.command(["true"])
    assert {"--unshare-net", "--clearenv", "--die-with-parent", "--new-session"} <= set(line)
    assert line[line.index("--cap-drop") + 1] == "ALL"
    assert "--cap-drop" not in BOX.command(["true"], privileged=True)


def test_time_zone_locale_and_epoch_are_fixed() -> None:
    text = " ".join(BOX.command(["true"], environment={"INITRD": "No"}))
    for setting in ("TZ UTC", "LC_ALL C.UTF-8", "SOURCE_DATE_EPOCH 7", "INITRD No"):
        assert f"--setenv {setting}" in text


def test_the_output_comes_back_and_the_input_goes_in() -> None:
    assert run_program(["/bin/cat"], stdin=b"hello", seconds=10) == b"hello"


def test_a_failure_carries_what_the_program_said_last() -> None:
    line = [sys.executable, "-c", "import sys; print('first'); sys.exit('the disk is gone')"]
    with pytest.raises(ToolFailed, match="mkfs ended with status 1: the disk is gone") as caught:
        run_program(line, seconds=10, named=["mkfs", "x"])
    assert "first" in caught.value.output


def test_a_program_that_hangs_is_ended_with_its_children() -> None:
    with pytest.raises(ToolFailed, match="did not end within"):
        run_program(["/bin/sh", "-c", "sleep 60 & wait"], seconds=0.2)


def test_a_missing_program_is_named() -> None:
    with pytest.raises(HostLacks, match="the program /none/such"):
        run_program(["/none/such"], seconds=1)


def test_a_machine_without_bubblewrap_or_root_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(HostLacks, match="apt-get install bubblewrap"):
        BOX.run(["true"])
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/bwrap")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HostLacks, match="run the command as root"):
        BOX.run(["true"])
