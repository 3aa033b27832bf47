"""Progress on something that is no terminal: plain lines, each said once."""

import io

import pytest
from rich.console import Console

from sealwave.infra.progress import Progress


def test_plain_lines_and_times() -> None:
    now = [0.0]
    output = io.StringIO()
    progress = Progress(Console(file=output, width=40), clock=lambda: now[0])
    with progress.step("build the image with a title that is longer than the console is wide"):
        progress.note("packages")
        now[0] = 65.0
        progress.note("packages")
        progress.note("tree", "seal")
    with pytest.raises(ValueError, match="no"), progress.step("the next"):
        raise ValueError("no")
    assert output.getvalue().splitlines() == [
        "... build the image with a title that is longer than the console is wide",
        "     0:00  packages",
        "     1:05  tree",
        "     1:05  seal",
        "done   1:05  build the image with a title that is longer than the console is wide",
        "... the next",
        "fail   0:00  the next",
    ]
    assert [(step.title[:5], step.seconds) for step in progress.times] == [("build", 65.0)]
