"""The Ledger object in the cluster: read it, change it by compare-and-swap. The rules are in `ledger`."""

from __future__ import annotations

from collections.abc import Callable

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from sealwave.rollout.cluster import Cluster
from sealwave.rollout.errors import AddonMissing, Conflict
from sealwave.rollout.ledger import Ledger

KIND = "Ledger"
NAME = "cluster"
# Pools that roll side by side write to one object; each round one of them wins.
_ATTEMPTS = 8


def read_ledger(cluster: Cluster) -> Ledger:
    """The ledger as it is; an empty one before the first write. Raises AddonMissing without its definition."""
    stored = cluster.read_object(KIND, NAME)
    return Ledger.from_json(stored.spec) if stored else Ledger()


def read_ledger_if_any(cluster: Cluster) -> tuple[Ledger, str]:
    """The ledger, or an empty one and the reason when its definition is not installed."""
    try:
        return read_ledger(cluster), ""
    except AddonMissing as error:
        return Ledger(), str(error)


def change_ledger(cluster: Cluster, change: Callable[[Ledger], Ledger]) -> Ledger:
    """Write what `change` makes of the ledger.

    `change` is asked again on what is there after a lost race, and checks its fence itself (Fenced ends it): a retry
    is never blind. Raises Conflict when every round was lost.
    """
    for attempt in Retrying(
        retry=retry_if_exception_type(Conflict),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.02, max=0.5),
        reraise=True,
    ):
        with attempt:
            stored = cluster.read_object(KIND, NAME)
            before = Ledger.from_json(stored.spec) if stored else Ledger()
            after = change(before)
            if after != before:
                version = stored.resource_version if stored else ""
                cluster.write_object(KIND, NAME, after.to_json(), resource_version=version)
            return after
    raise AssertionError("tenacity re-raises the last error")
