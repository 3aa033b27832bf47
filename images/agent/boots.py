"""Recording why the machine booted what it booted; apart from the service, because `prepare` and the backstop start
quicker without HTTP.
"""

from __future__ import annotations

from dataclasses import replace

from sealwave.images.agent.memory import Change
from sealwave.images.agent.platform import Platform
from sealwave.images.agent.window import recognise_boot

__all__ = ["recognise"]


def recognise(change: Change, platform: Platform) -> None:
    """Record why this boot is what it is; the first of the agent's commands to ask does it, the others agree."""
    history = recognise_boot(
        change.memory.history,
        boot_id=platform.boot_id(),
        running=platform.running().slot,
        one_shot=platform.boot_choice().one_shot,
    )
    change.memory = replace(change.memory, history=history)
