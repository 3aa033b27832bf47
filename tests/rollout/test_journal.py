"""The journal: chain, replay, compaction, torn tails; one suite for the object and the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from sealwave.rollout.errors import Conflict, JournalBroken, JournalTooNew
from sealwave.rollout.journal import Chain, Entry, apply, canonical, replay, verify
from sealwave.rollout.journal_store import FileJournal, JournalStore, ObjectJournal
from sealwave.rollout.model import Phase
from sealwave.rollout.state import NodeRecord, RolloutState
from tests.rollout import strategies
from tests.rollout.fake_cluster import FakeCluster
from tests.rollout.world import V2, V3, make_pool, make_world

SCHEMA = json.loads((Path(__file__).parents[2] / "rollout/schema/journal-record.schema.json").read_text())
RECORD = Draft202012Validator(SCHEMA)
NODE_RECORD = Draft202012Validator({**SCHEMA["$defs"]["nodeRecord"], "$defs": SCHEMA["$defs"]})
HEAD = Entry(kind="head", data=RolloutState(pool="workers", phase=Phase.Holding).head_json())


def release(text: str) -> Entry:
    return Entry(kind="release", data={"digest": V2, "reason": text, "who": "w", "refusedBecause": "x"})


@pytest.fixture(params=["object", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> JournalStore:
    if request.param == "object":
        return ObjectJournal(FakeCluster(), "workers")
    return FileJournal(tmp_path / "journal", "workers")


def test_what_is_appended_is_read_again(store: JournalStore) -> None:
    empty = store.load()
    assert empty.records == ()
    first = store.append(empty, [HEAD, release("a")], at=1.5, fence=3)
    second = store.append(first, [release("b")], at=2.5, fence=3)
    read = store.load()
    assert read == second
    assert [record.seq for record in read.records] == [0, 1, 2]
    assert read.records[1].prev == read.records[0].hash
    assert read.chain.head == read.records[2].hash


def test_only_the_end_that_was_read_can_be_extended(store: JournalStore) -> None:
    first = store.append(store.load(), [HEAD], at=1, fence=1)
    store.append(first, [release("a")], at=2, fence=1)
    with pytest.raises(Conflict):
        store.append(first, [release("b")], at=2, fence=1)
    assert len(store.load().records) == 2


def _object_lines(cluster: FakeCluster, change: Callable[[list[str]], list[str]]) -> None:
    stored = cluster.objects[("Journal", "workers")]
    spec = {**stored.spec, "records": change(list(stored.spec["records"]))}
    cluster.write_object("Journal", "workers", spec, resource_version=stored.resource_version)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda lines: [lines[0], lines[1].replace("one", "two"), *lines[2:]], "record 1 was changed"),
        (lambda lines: [*lines[:3], lines[3].replace("three", "thrae")], "record 3 was changed"),
        (lambda lines: [lines[0].replace("zero", "nil"), *lines[1:]], "record 0 was changed"),
        (lambda lines: [lines[0], *lines[2:]], "record 1 is missing"),
        (lambda lines: lines[1:], "records before it are missing"),
        (lambda lines: lines[:3], "record 2 was changed: the journal's head"),
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], "record 1 is missing"),
        (lambda lines: [lines[0], "{", *lines[2:]], "record 1 cannot be read"),
        (lambda lines: [], "are missing"),
    ],
)
def test_a_changed_record_is_refused_and_named(change: Callable[[list[str]], list[str]], says: str) -> None:
    cluster = FakeCluster()
    store = ObjectJournal(cluster, "workers")
    store.append(store.load(), [release(word) for word in ("zero", "one", "two?", "three")], at=1, fence=1)
    _object_lines(cluster, change)
    with pytest.raises(JournalBroken, match=says):
        store.load()


def test_a_record_of_a_later_version_is_refused_by_its_number() -> None:
    line = canonical({**json.loads(Chain().extend([HEAD], at=1, fence=1)[1][0].line), "v": 2})
    with pytest.raises(JournalTooNew, match="record 0 has format 2"):
        verify([line], journal="workers")


def test_a_changed_line_of_the_file_is_refused_and_named(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    store = FileJournal(path, "workers")
    store.append(store.load(), [release(word) for word in ("zero", "one", "two")], at=1, fence=1)
    path.write_text(path.read_text().replace('"one"', '"uno"'))
    with pytest.raises(JournalBroken, match="record 1 was changed"):
        store.load()


def test_a_torn_tail_of_the_file_is_cut_at_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    store = FileJournal(path, "workers")
    first = store.append(store.load(), [release("zero")], at=1, fence=1)
    store.append(first, [release("one")], at=2, fence=1)
    whole, kept = path.read_bytes(), int(first.version)
    for size in range(kept, len(whole)):
        path.write_bytes(whole[:size])
        assert store.load() == first
        assert path.read_bytes() == whole[:kept]
        assert len(store.append(store.load(), [release("again")], at=3, fence=1).records) == 2


def test_compaction_keeps_state_number_and_old_head() -> None:
    cluster = FakeCluster()
    store = ObjectJournal(cluster, "workers", compact_bytes=2_000)
    loaded, heads, counts = store.load(), [], []
    for number in range(40):
        loaded = store.append(loaded, [HEAD, release(f"number {number}")], at=number, fence=1)
        heads.append(loaded.chain.head)
        counts.append(len(loaded.records))
        assert store.load() == loaded
    assert max(counts) < 20
    checkpoint = loaded.records[0]
    assert checkpoint.kind == "checkpoint"
    assert checkpoint.seq >= 40
    assert replay("workers", loaded.records).phase is Phase.Holding


def test_replay_of_a_whole_rollout_gives_the_drivers_state_at_every_record() -> None:
    world = make_world(v3="no-kubelet")
    driver = world.driver(make_pool(V3))
    assert driver.open()
    for _ in range(400):
        ended, moved = driver.turn(stopping=False, patient=True)
        assert replay("workers", driver._loaded.records) == driver._state
        if ended:
            break
        world.advance(0.0 if moved else 1.0)
    assert driver._state.phase is Phase.Halted
    for record in driver._loaded.records:
        RECORD.validate(json.loads(record.line))


@given(strategies.states())
def test_a_state_survives_json_and_a_checkpoint(state: RolloutState) -> None:
    body = json.loads(canonical(state.to_json()))
    assert RolloutState.from_json(body) == state
    _, records = Chain().extend([Entry(kind="checkpoint", data=state.to_json())], at=1, fence=1)
    assert apply(RolloutState(pool="other"), records[0]) == state


@given(strategies.records())
def test_a_node_record_fits_its_schema(record: NodeRecord) -> None:
    NODE_RECORD.validate(record.to_json())


def test_a_record_with_an_unknown_member_is_refused() -> None:
    data = {**NodeRecord(name="n", wave=1, target=V2).to_json(), "colour": "red"}
    _, records = Chain().extend([Entry(kind="state", node="n", data=data)], at=1, fence=1)
    with pytest.raises(JournalBroken, match=r"record 0 cannot be applied .*colour"):
        replay("workers", records)
