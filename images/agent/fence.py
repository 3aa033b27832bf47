"""The fence: the number that shuts out a driver which does not know yet that it was replaced.

A driver takes a higher number than every driver before it. The machine remembers the highest that it has seen, on
disk, and refuses a lower one for ever, also after reboots. An equal number is the same driver and passes.
"""

from __future__ import annotations

from sealwave.images.agent.errors import Code, Refused

__all__ = ["advance"]


def advance(highest: int, offered: int) -> int:
    """The fence to remember after a call that carries `offered`; raises Refused when it is a stale one."""
    if offered < highest:
        raise Refused(
            Code.STALE_FENCE,
            f"the call carries fence {offered}, and a driver with fence {highest} was here; this driver must stop",
            fence=highest,
        )
    return offered
