"""The cache of build steps: a step's result is a folder named by everything that decides it.

A key covers the step's inputs and the sources of the modules that do it, so that a changed line of ours makes a new
result and never serves an old one. Results are read-only by agreement: whoever changes one copies it first.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealwave.images.store import new_folder

KEPT = 16
"""Results that stay in the cache. Three images need six; the rest is for going back and forth in git."""

_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class StepEvent:
    """A step began (`state` started), ended (finished) or was taken from the cache (reused) after `seconds`."""

    step: str
    state: str
    seconds: float


Progress = Callable[[StepEvent], None]
"""Is told of every step as it happens."""


def step_key(step: str, inputs: Any, modules: Sequence[str]) -> str:
    """The name of a step's result; `modules` are the files of this folder whose code decides it."""
    sources = {name: hashlib.sha256((_HERE / name).read_bytes()).hexdigest() for name in sorted(modules)}
    text = json.dumps([step, inputs, sources], sort_keys=True)
    return f"{step}-{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def cached_step(name: str, key: str, *, cache: Path, make: Callable[[Path], None], progress: Progress) -> Path:
    """The folder of a step's result. `make` fills an empty folder if there is no such result yet."""
    target = cache / "steps" / key
    with timed(name, progress) as done:
        if target.is_dir():
            os.utime(target)
            done("reused")
            return target
        with new_folder(target) as scratch:
            make(scratch)
        _forget_old(cache / "steps")
    return target


@contextmanager
def timed(name: str, progress: Progress) -> Iterator[Callable[[str], None]]:
    """Report a step's begin and its end; the block may say that it ended otherwise than `finished`."""
    begun = time.monotonic()
    progress(StepEvent(name, "started", 0.0))
    state = ["finished"]

    def done(how: str) -> None:
        state[0] = how

    yield done
    progress(StepEvent(name, state[0], time.monotonic() - begun))


def _forget_old(folder: Path) -> None:
    """Keep the results that were used last."""
    results = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    results.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in results[KEPT:]:
        # Renamed first: a half-deleted folder must never be found under a result's name.
        doomed = Path(tempfile.mkdtemp(prefix=".old-", dir=folder))
        path.rename(doomed / "result")
        shutil.rmtree(doomed)
