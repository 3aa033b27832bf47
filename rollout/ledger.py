"""The cluster's ledger: fences, claims, refused images and quarantined nodes. This module is the pure half.

There is one Ledger object per cluster, and every pool's driver joins it. A change is made by reading it, applying one
of the functions here, and writing it back by compare-and-swap (`ledger_store`).

Rules:
1. A pool's fence only grows; whoever holds a lower one may change nothing of that pool.
2. A node is claimed by at most one pool.
3. A refused digest stays refused until a person releases it.
4. A quarantined node stays listed until it was verified on an image and released.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from sealwave.rollout.errors import Fenced, JournalBroken
from sealwave.rollout.model import Json


@dataclass(frozen=True, kw_only=True)
class PoolEntry:
    """One pool's line: the newest fence, who took it, and the nodes that are in its hands."""

    fence: int = 0
    holder: str = ""
    taken: float = 0.0
    claims: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why an image may not be rolled."""

    digest: str
    reason: str
    when: float
    who: str
    pool: str
    node: str = ""


@dataclass(frozen=True, kw_only=True)
class Quarantine:
    """Why a node is kept out of service."""

    node: str
    pool: str
    digest: str
    reason: str
    when: float


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The whole ledger; change it with the ``with_*`` methods, which return a new one."""

    pools: Mapping[str, PoolEntry] = field(default_factory=dict)
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    quarantined: Mapping[str, Quarantine] = field(default_factory=dict)

    def pool(self, name: str) -> PoolEntry:
        """The line of pool `name`; an empty one when it never rolled."""
        return self.pools.get(name, PoolEntry())

    def check_journal(self, pool: str, *, records: int) -> None:
        """Raise JournalBroken when the ledger and a journal of that many records cannot both be whole.

        The fence is taken before the first record, and that is written before the first claim or quarantine.
        """
        known = bool(self.pool(pool).claims) or any(entry.pool == pool for entry in self.quarantined.values())
        if known and not records:
            raise JournalBroken(pool, 0, "and all behind it are missing, although the ledger has nodes of that pool")
        if records and not self.pool(pool).fence:
            raise JournalBroken(pool, records, "is the newest, and the ledger that belongs to it is missing")

    def claimed(self, pool: str, node: str) -> bool:
        """Whether `pool` holds `node`."""
        return node in self.pool(pool).claims

    def claimed_elsewhere(self, pool: str, node: str) -> str:
        """The other pool that holds `node`, or nothing."""
        return next((name for name, entry in self.pools.items() if name != pool and node in entry.claims), "")

    def check_fence(self, pool: str, fence: int) -> None:
        """Raise Fenced unless `fence` is the newest of `pool`."""
        entry = self.pool(pool)
        if entry.fence != fence:
            raise Fenced(pool, ours=fence, current=entry.fence, holder=entry.holder)

    def with_fence(self, pool: str, *, holder: str, now: float, above: int = 0) -> Ledger:
        """Take the next fence of `pool`: higher than any here and than `above`, which nodes and machines have seen."""
        entry = self.pool(pool)
        fence = max(entry.fence, above) + 1
        return self._with_pool(pool, replace(entry, fence=fence, holder=holder, taken=now))

    def with_claim(self, pool: str, node: str) -> Ledger:
        """Put `node` into the hands of `pool`; nothing changes when another pool has it."""
        entry = self.pool(pool)
        if node in entry.claims or self.claimed_elsewhere(pool, node):
            return self
        return self._with_pool(pool, replace(entry, claims=(*entry.claims, node)))

    def without_claim(self, pool: str, node: str) -> Ledger:
        """Give `node` back."""
        entry = self.pool(pool)
        return self._with_pool(pool, replace(entry, claims=tuple(name for name in entry.claims if name != node)))

    def with_quarantine(self, entry: Quarantine) -> Ledger:
        """Keep a node out of service; the first reason stays."""
        if entry.node in self.quarantined:
            return self
        return replace(self, quarantined={**self.quarantined, entry.node: entry})

    def without_quarantine(self, node: str) -> Ledger:
        """Take a node back into service."""
        return replace(self, quarantined={name: entry for name, entry in self.quarantined.items() if name != node})

    def with_refusal(self, refusal: Refusal) -> Ledger:
        """Refuse an image; the first reason stays."""
        if refusal.digest in self.refused:
            return self
        return replace(self, refused={**self.refused, refusal.digest: refusal})

    def without_refusal(self, digest: str) -> Ledger:
        """Release an image."""
        return replace(self, refused={name: entry for name, entry in self.refused.items() if name != digest})

    def _with_pool(self, name: str, entry: PoolEntry) -> Ledger:
        return replace(self, pools={**self.pools, name: entry})

    def to_json(self) -> Json:
        """As the Ledger object's spec holds it."""
        return {
            "pools": {
                name: {
                    "fence": entry.fence,
                    "holder": entry.holder,
                    "taken": entry.taken,
                    "claims": list(entry.claims),
                }
                for name, entry in sorted(self.pools.items())
            },
            "refused": [asdict(self.refused[digest]) for digest in sorted(self.refused)],
            "quarantined": [asdict(self.quarantined[node]) for node in sorted(self.quarantined)],
        }

    @classmethod
    def from_json(cls, spec: Json) -> Ledger:
        """Read the Ledger object's spec; absent parts are empty."""
        refused = [
            Refusal(
                digest=item["digest"],
                reason=item.get("reason", ""),
                when=float(item.get("when", 0)),
                who=item.get("who", ""),
                pool=item.get("pool", ""),
                node=item.get("node", ""),
            )
            for item in spec.get("refused", ())
        ]
        quarantined = [
            Quarantine(
                node=item["node"],
                pool=item.get("pool", ""),
                digest=item.get("digest", ""),
                reason=item.get("reason", ""),
                when=float(item.get("when", 0)),
            )
            for item in spec.get("quarantined", ())
        ]
        return cls(
            pools={
                name: PoolEntry(
                    fence=int(entry.get("fence", 0)),
                    holder=entry.get("holder", ""),
                    taken=float(entry.get("taken", 0)),
                    claims=tuple(entry.get("claims", ())),
                )
                for name, entry in spec.get("pools", {}).items()
            },
            refused={entry.digest: entry for entry in refused},
            quarantined={entry.node: entry for entry in quarantined},
        )
