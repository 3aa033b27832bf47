"""The ledger's rules, and that it is the same after JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from sealwave.rollout.cluster import Stored
from sealwave.rollout.errors import Conflict, Fenced
from sealwave.rollout.ledger import Ledger, Quarantine, Refusal
from sealwave.rollout.ledger_store import change_ledger, read_ledger
from sealwave.rollout.model import Json
from tests.rollout import strategies
from tests.rollout.fake_cluster import FakeCluster
from tests.rollout.world import V2


def test_a_fence_only_grows_and_shuts_out_who_holds_a_lower_one() -> None:
    first = Ledger().with_fence("a", holder="x", now=1)
    second = first.with_fence("a", holder="y", now=2)
    assert second.pool("a").fence == 2
    assert second.with_fence("a", holder="z", now=3, above=40).pool("a").fence == 41
    second.check_fence("a", 2)
    with pytest.raises(Fenced, match=r"taken over by y|took over by y \(fence 2, ours was 1\)"):
        second.check_fence("a", 1)
    assert second.pool("b").fence == 0


def test_a_node_is_in_one_pools_hands() -> None:
    book = Ledger().with_claim("a", "n").with_claim("b", "n").with_claim("a", "n")
    assert (book.pool("a").claims, book.pool("b").claims) == (("n",), ())
    assert book.claimed_elsewhere("b", "n") == "a"
    assert book.without_claim("a", "n").with_claim("b", "n").claimed("b", "n")


def test_the_first_reason_stays() -> None:
    refusals = [Refusal(digest=V2, reason=reason, when=1, who="w", pool="a") for reason in ("one", "two")]
    book = Ledger().with_refusal(refusals[0]).with_refusal(refusals[1])
    assert book.refused[V2].reason == "one"
    assert book.without_refusal(V2).refused == {}
    kept = [Quarantine(node="n", pool="a", digest=V2, reason=reason, when=1) for reason in ("one", "two")]
    book = Ledger().with_quarantine(kept[0]).with_quarantine(kept[1])
    assert book.quarantined["n"].reason == "one"
    assert book.without_quarantine("n").quarantined == {}


@given(strategies.ledgers())
def test_it_survives_json(ledger: Ledger) -> None:
    assert Ledger.from_json(json.loads(json.dumps(ledger.to_json()))) == ledger


def test_a_lost_race_is_decided_again_from_what_is_there() -> None:
    cluster = FakeCluster()
    rounds = []

    def change(book: Ledger) -> Ledger:
        rounds.append(book)
        if len(rounds) < 3:
            # Another pool's driver is quicker.
            change_ledger(cluster, lambda other: other.with_fence("other", holder="x", now=len(rounds)))
        return book.with_claim("workers", "n")

    change_ledger(cluster, change)
    assert len(rounds) == 3
    assert read_ledger(cluster).pool("other").fence == 2
    assert read_ledger(cluster).claimed("workers", "n")


def test_a_race_that_is_never_won_ends() -> None:
    class Busy(FakeCluster):
        def write_object(self, kind: str, name: str, spec: Json, *, resource_version: str) -> Stored:
            raise Conflict("Ledger cluster")

    with pytest.raises(Conflict):
        change_ledger(Busy(), lambda book: book.with_claim("workers", "n"))
