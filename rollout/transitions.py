"""One node's next state, by what is observed. Pure; `step` calls `advance` for every node that is in flight.

Rules:
1. Each function handles one state and returns the record and the effects that it wants now; it moves one state at most.
2. Before the image is activated every way out leads through Unwinding to an uncordoned node on its old image.
3. Commit comes before uncordon, and the gates before commit.
4. Deadlines count from `watched`; what is merely not known past a deadline makes the node ``stuck``, never failed.
"""

from __future__ import annotations

from collections.abc import Callable

from sealwave.rollout.after_boot import booting, releasing, verifying
from sealwave.rollout.before_boot import claimed, cordoning, evicting, quiescing, replacing
from sealwave.rollout.going_back import failed, unwinding
from sealwave.rollout.model import NodeState
from sealwave.rollout.moves import Context, Move
from sealwave.rollout.observation import Sight
from sealwave.rollout.state import NodeRecord


def advance(record: NodeRecord, ctx: Context) -> Move:
    """The next record of a node and the effects wanted now."""
    handler = _HANDLERS.get(record.state)
    return handler(record, ctx.seen.sight(record.name), ctx) if handler else (record, ())


_HANDLERS: dict[NodeState, Callable[[NodeRecord, Sight, Context], Move]] = {
    NodeState.Claimed: claimed,
    NodeState.Cordoning: cordoning,
    NodeState.Quiescing: quiescing,
    NodeState.Evicting: evicting,
    NodeState.Replacing: replacing,
    NodeState.Booting: booting,
    NodeState.Verifying: verifying,
    NodeState.Releasing: releasing,
    NodeState.Unwinding: unwinding,
    NodeState.Failed: failed,
}
