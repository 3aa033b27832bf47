"""Read-only questions to a pool: what would be done (`preview`), how it stands (`status`); and releasing a digest."""

from __future__ import annotations

from sealwave.rollout.access import Fleet
from sealwave.rollout.model import Plan, PoolSpec
from sealwave.rollout.outcome import PoolStatus


def preview(pool: PoolSpec, fleet: Fleet) -> Plan:
    """Plan from the live cluster and machines; touches nothing. Without the add-on it plans from an empty ledger.

    Raises PlanRefused (digest refused, selector, control plane), BadInput or ClusterError.
    """
    raise NotImplementedError


def status(pool: PoolSpec, fleet: Fleet) -> PoolStatus:
    """How every node of the pool stands now; unreachable machines and a missing add-on become warnings.

    Raises ClusterError when the API server itself cannot be asked.
    """
    raise NotImplementedError


def release_digest(fleet: Fleet, digest: str, *, reason: str, who: str) -> None:
    """Lift the refusal of `digest`; journaled with `reason` and `who` in the journal of the pool where it failed.

    Raises BadInput when the digest is malformed or not refused, or the reason is empty.
    """
    raise NotImplementedError
