"""The way back with nobody there: an image that is not committed when its window ends loses the machine.

Rules:
1. This runs as a process of its own, so that an agent that hangs or does not start cannot keep a bad image running.
2. Whether the running image is committed is asked of the firmware's variables, never of a file.
3. A memory that cannot be read, written or locked costs the reason of the reboot, and never the reboot.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sealwave.images.agent import layout
from sealwave.images.agent.boots import recognise
from sealwave.images.agent.errors import AgentError, PlatformFailed
from sealwave.images.agent.memory import MemoryFile
from sealwave.images.agent.platform import Platform
from sealwave.images.agent.window import DEFAULT_WINDOW, Leaving, expired

__all__ = ["keep_watch", "leave_if_overdue", "seconds_left"]

_log = logging.getLogger(__name__)
# Seconds between looks at the firmware's variable: a commit ends the watch this late, which harms nobody.
_LOOK_EVERY = 15.0
# Seconds that an agent may take for a change; one that holds the lock for longer hangs.
_LOCK_PATIENCE = 60.0
# Seconds; longer than `reboot` waits before it resets the machine.
_AFTER_REBOOT = 600.0


def seconds_left(platform: Platform, *, window: int) -> float | None:
    """Seconds until the running image has to leave; None when it is committed."""
    if _committed(platform):
        return None
    return max(0.0, window - platform.uptime())


def leave_if_overdue(platform: Platform, memory: MemoryFile, *, window: int, patience: float = _LOCK_PATIENCE) -> bool:
    """Reboot into the committed slot if the window has ended; True when it did.

    Under the same lock as a commit, so that a commit which was answered 200 is never followed by a reboot, unless
    whoever holds it does not let go of it within `patience` (seconds).
    """
    try:
        with memory.change(patience=patience) as change:
            if not _overdue(platform, window):
                return False
            recognise(change, platform)
            change.memory = replace(
                change.memory, history=replace(change.memory.history, leaving=Leaving.WINDOW_EXPIRED)
            )
            change.save()
            platform.reboot()
            return True
    except (AgentError, OSError) as error:
        _log.error("the reason of the reboot cannot be recorded: %s", error)
    if not _overdue(platform, window):
        return False
    platform.reboot()
    return True


def _overdue(platform: Platform, window: int) -> bool:
    return expired(committed=_committed(platform), uptime=platform.uptime(), window=window)


def _committed(platform: Platform) -> bool:
    return platform.running().slot is platform.boot_choice().default


def keep_watch(
    platform: Platform, *, sleep: Callable[[float], None] = time.sleep, committed: Path = layout.COMMITTED
) -> None:
    """Watch until the running image is committed, or reboot when its window has ended.

    The window comes from the signed configuration; if that cannot be read, from a default, because an image that
    cannot even read it must lose the machine all the more. The file `committed` tells the last resort, which is a unit
    without a program, to leave the machine alone. Raises PlatformFailed when the firmware cannot be asked: the service
    manager starts this again.
    """
    window = _window()
    memory = MemoryFile(platform.data / "agent")
    try:
        _watch(platform, memory, window=window, sleep=sleep)
    finally:
        if not _may_be_left(platform, memory):
            committed.parent.mkdir(parents=True, exist_ok=True)
            committed.touch()


def _may_be_left(platform: Platform, memory: MemoryFile) -> bool:
    """Whether the last resort may end the running image.

    When the firmware cannot be asked it is one that was activated: a reboot mends neither firmware nor disk, and must
    not take the pods of a committed machine again and again.
    """
    try:
        return not _committed(platform)
    except PlatformFailed as error:
        _log.error("whether the image is committed is not known: %s", error)
    try:
        activation = memory.read().history.activation
        return activation is not None and activation.slot is platform.running().slot
    except PlatformFailed:
        return False


def _watch(platform: Platform, memory: MemoryFile, *, window: int, sleep: Callable[[float], None]) -> None:
    """Return once the running image is committed; a reboot ends the process."""
    while (left := seconds_left(platform, window=window)) is not None:
        if left == 0 and leave_if_overdue(platform, memory, window=window):
            _log.warning("the image was not committed within %d s: back to the other slot", window)
            # The reboot ends this process; if it does not, `reboot` itself resets the machine.
            sleep(_AFTER_REBOOT)
            return
        sleep(min(max(left, 1.0), _LOOK_EVERY))


def _window() -> int:
    from sealwave.images.agent.prepare import load_config

    try:
        return load_config().commit_window_seconds
    except AgentError as error:
        _log.error("%s; the window is %d s", error, DEFAULT_WINDOW)
        return DEFAULT_WINDOW
