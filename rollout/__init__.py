"""The rollout: waves of node replacements behind health gates, as a pure, total state machine with a journal.

Law: the core decides and never acts; every effect is journaled as intended before it is tried and as done after; what
is unknown holds, and nothing passes for lack of evidence. This folder never imports the images: it meets them in the
image manifest's digest and in the machine API's OpenAPI document.
"""

from sealwave.rollout.access import Fleet, connect
from sealwave.rollout.driver import Driver, Timing
from sealwave.rollout.errors import RolloutError
from sealwave.rollout.model import (
    Budget,
    Deadlines,
    DrainPolicy,
    NodeState,
    Phase,
    Plan,
    PoolSpec,
    Wave,
)
from sealwave.rollout.outcome import EvictionTally, NodeResult, NodeStatus, Outcome, PoolStatus, Progress
from sealwave.rollout.view import preview, release_digest, status

__all__ = [
    "Budget",
    "Deadlines",
    "DrainPolicy",
    "Driver",
    "EvictionTally",
    "Fleet",
    "NodeResult",
    "NodeState",
    "NodeStatus",
    "Outcome",
    "Phase",
    "Plan",
    "PoolSpec",
    "PoolStatus",
    "Progress",
    "RolloutError",
    "Timing",
    "Wave",
    "connect",
    "preview",
    "release_digest",
    "status",
]
