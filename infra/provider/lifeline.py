"""Ends the provider when the Pulumi CLI that started it is gone.

A CLI that is killed with SIGKILL cannot tell its plugins: they would live on as orphans and drive a rollout that
nobody watches, side by side with the one that the next `pulumi up` starts. The fence would shut such an orphan out;
the lifeline makes it end by itself.

1. Remember the parent at start. A process whose parent dies is given to another one, so a changed parent is the sign.
2. Ask every running rollout to hold, because a driver that stops between two effects leaves less to repair.
3. End the process after `GRACE_SECONDS` whatever happened: the journal in the cluster covers any instant.
"""

import os
import threading
from collections.abc import Callable

POLL_SECONDS = 0.5
"""How often the parent is looked at; an orphan is noticed within this time."""

GRACE_SECONDS = 4.0
"""How long a running rollout has to reach its hold before the process ends in any case."""

EXIT_ORPHANED = 1
"""The exit status of a provider that outlived its CLI; nobody reads it."""


def watch_parent(
    hold: Callable[[], None],
    busy: Callable[[], bool],
    *,
    parent: Callable[[], int] = os.getppid,
    leave: Callable[[int], None] = os._exit,
    poll: float = POLL_SECONDS,
    grace: float = GRACE_SECONDS,
) -> threading.Thread:
    """Start the watching thread and return it.

    Args:
        hold: asks the running rollouts for a safe hold; must return at once.
        busy: tells whether a rollout is still running.
        parent: returns the parent's process id.
        leave: ends the process with a status, without running any exit handler that could block.
        poll: seconds between two looks.
        grace: seconds between the request for a hold and the end.
    """
    first = parent()
    tick = threading.Event()

    def watch() -> None:
        while parent() == first:
            tick.wait(poll)
        hold()
        waited = 0.0
        while busy() and waited < grace:
            tick.wait(poll)
            waited += poll
        leave(EXIT_ORPHANED)

    thread = threading.Thread(target=watch, name="lifeline", daemon=True)
    thread.start()
    return thread
