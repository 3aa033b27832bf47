"""What a person sees while something long runs: steps, how long each took, and what is going on now.

On a terminal the current line is redrawn in place; elsewhere (a log, CI) each change is one plain line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

__all__ = ["Progress", "StepTime", "default_console"]

# Characters of a note that are shown; a longer one would wrap and make the display jump.
NOTE_WIDTH = 110
# Columns of a table in a log.
LOG_WIDTH = 160
# Redraws in a second: enough for a clock that counts seconds.
REDRAWS = 4


def default_console() -> Console:
    """Standard error; a log has no width, so tables get enough of it."""
    console = Console(stderr=True, highlight=False)
    return console if console.is_terminal else Console(stderr=True, highlight=False, width=LOG_WIDTH)


@dataclass(frozen=True)
class StepTime:
    """A finished step and the seconds that it took."""

    title: str
    seconds: float


@dataclass
class Progress:
    """Shows steps one after the other, and keeps their times."""

    console: Console = field(default_factory=default_console)
    clock: Callable[[], float] = time.monotonic
    times: list[StepTime] = field(default_factory=list)
    _title: str = ""
    _notes: tuple[str, ...] = ()
    _started: float = 0.0
    _live: Live | None = None

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show a step while the block runs, and its time when it is done."""
        self._title, self._notes, self._started = title, (), self.clock()
        if self.console.is_terminal:
            live = Live(console=self.console, refresh_per_second=REDRAWS, transient=True, get_renderable=self._picture)
            with live:
                self._live = live
                yield from self._run()
        else:
            self.console.print(f"... {title}", markup=False, soft_wrap=True)
            yield from self._run()

    def note(self, *lines: str) -> None:
        """Say what is going on in this step now; on a terminal the lines replace the earlier ones."""
        new = tuple(line[:NOTE_WIDTH] for line in lines)
        if new == self._notes:
            return
        if not self.console.is_terminal:
            for line in new:
                if line not in self._notes:
                    self.console.print(f"    {_clock(self._elapsed)}  {line}", markup=False, soft_wrap=True)
        self._notes = new

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self.console.print(line, markup=False, soft_wrap=True)

    @property
    def _elapsed(self) -> float:
        return self.clock() - self._started

    def _run(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._live = None
            self.console.print(
                Text.assemble(("fail", "bold red"), f"  {_clock(self._elapsed)}  {self._title}"), soft_wrap=True
            )
            raise
        self._live = None
        self.times.append(StepTime(self._title, self._elapsed))
        self.console.print(
            Text.assemble(("done", "green"), f"  {_clock(self._elapsed)}  {self._title}"), soft_wrap=True
        )

    def _picture(self) -> Table:
        table = Table.grid(padding=(0, 1))
        table.add_row(Spinner("dots"), Text(f"{_clock(self._elapsed)}  {self._title}", style="bold"))
        for line in self._notes:
            table.add_row("", Text(f"       {line}", style="dim"))
        return table


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:2d}:{rest:02d}"
