"""The command line's edge: one sentence, the right status, never a traceback."""

import errno
from pathlib import Path

import click
import pytest

from sealwave.images.errors import SpecError
from sealwave.infra.cli import __main__ as cli
from sealwave.infra.cli.groups import GROUPS
from sealwave.infra.errors import PortInUse


def test_help_names_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in GROUPS)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        pytest.param(SpecError(Path("a.yaml"), 3, "no such key"), 2, "a.yaml:3: no such key", id="bad spec"),
        pytest.param(PortInUse(1, "a test", None), 1, "port 1 on 127.0.0.1", id="the world"),
        pytest.param(
            OSError(errno.ENOSPC, "No space left on device", "/x/disk.raw"),
            1,
            "/x/disk.raw: No space left on device; make room there and run it again",
            id="no space left",
        ),
        pytest.param(KeyboardInterrupt(), 130, "interrupted", id="Ctrl-C"),
        pytest.param(ZeroDivisionError("oh"), 1, "this is a bug (ZeroDivisionError: oh)", id="our bug"),
        pytest.param(click.UsageError("which?"), 2, "which?", id="usage"),
    ],
)
def test_an_error_is_one_sentence(
    error: BaseException, status: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli.sealwave, "main", fail)
    assert cli.main([]) == status
    shown = capsys.readouterr().err
    assert words in shown
    assert "Traceback" not in shown
    assert len(shown.strip().splitlines()) == 1


def test_debugging_shows_where_a_bug_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(**_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setenv("SEALWAVE_DEBUG", "1")
    monkeypatch.setattr(cli.sealwave, "main", fail)
    assert cli.main([]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_unknown_group_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["imagge"]) == 2
    assert "No such command 'imagge'" in capsys.readouterr().err
