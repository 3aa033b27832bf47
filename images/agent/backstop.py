"""The way back with nobody there: an image that is not committed when its window ends loses the machine.

Rules:
1. This runs as a process of its own, so that an agent that hangs or does not start cannot keep a bad image running.
2. Whether the running image is committed is asked of the firmware's variables, never of a file.
3. A memory that cannot be read or written costs the reason of the reboot, and never the reboot.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from sealwave.images.agent.errors import AgentError
from sealwave.images.agent.memory import MemoryFile
from sealwave.images.agent.platform import Platform
from sealwave.images.agent.service import recognise
from sealwave.images.agent.window import Leaving, expired

__all__ = ["leave_if_overdue", "seconds_left"]

_log = logging.getLogger(__name__)


def seconds_left(platform: Platform, *, window: int) -> float | None:
    """Seconds until the running image has to leave; None when it is committed."""
    if platform.running().slot is platform.boot_choice().default:
        return None
    return max(0.0, window - platform.uptime())


def leave_if_overdue(platform: Platform, memory: MemoryFile, *, window: int) -> bool:
    """Reboot into the committed slot if the window has ended; True when it did.

    Under the same lock as a commit, so that a commit which was answered 200 is never followed by a reboot.
    """
    try:
        with memory.change() as change:
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
    committed = platform.running().slot is platform.boot_choice().default
    return expired(committed=committed, uptime=platform.uptime(), window=window)
