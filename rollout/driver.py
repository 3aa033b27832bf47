"""The driver: observe, step, journal what is intended, perform it, journal what was done; until there is nothing left.

Killed at any instant it resumes from the journal and the cluster alone. (Facade; the body follows.)
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sealwave.rollout.access import Fleet
from sealwave.rollout.model import PoolSpec
from sealwave.rollout.outcome import Outcome, Progress


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How often the driver looks, in seconds."""

    poll: float = 2.0  # between two passes while something is in flight
    grace: float = 20.0  # from a stop request to the safe hold


class Driver:
    """Rolls one pool to its wanted image; one instance is one run."""

    def __init__(self, pool: PoolSpec, fleet: Fleet, *, who: str = "", timing: Timing | None = None) -> None:
        self._pool, self._fleet, self._who = pool, fleet, who
        self._timing = timing or Timing()

    def run(self, stop: threading.Event, report: Callable[[Progress], None]) -> Outcome:
        """Roll until converged, halted or held.

        Setting `stop` reaches a safe hold within `Timing.grace` seconds. Raises RolloutError (one sentence) when it
        cannot even begin: bad selector, refused digest, broken journal, cluster unreachable; Fenced when another
        driver took over.
        """
        raise NotImplementedError
