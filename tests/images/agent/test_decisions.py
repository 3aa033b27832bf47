"""The pure core: slots, fence, boots and the window, as tables; at the end what a cut leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sealwave.images.agent.errors import Code, Refused
from sealwave.images.agent.fence import advance
from sealwave.images.agent.memory import MemoryFile
from sealwave.images.agent.service import Agent
from sealwave.images.agent.slots import (
    Slot,
    SlotState,
    SlotView,
    StoredImage,
    View,
    WayBack,
    plan_activate,
    plan_commit,
    plan_rollback,
    plan_stage,
)
from sealwave.images.agent.window import (
    Activation,
    Boot,
    BootReason,
    History,
    Leaving,
    deadline,
    expired,
    recognise_boot,
)
from tests.images.agent.test_backstop import Machine
from tests.simulated.images import FakeImage, Trust

IMAGES = {
    version: StoredImage(f"sha256:{version * 64}", "node", version, int(version), version * 64, ())
    for version in ("1", "2", "3")
}
A, B = Slot.A, Slot.B


def view(*, a: str = "1", b: str = "", running: Slot = A, default: Slot = A, one_shot: Slot | None = None) -> View:
    """A machine with versions in its slots; "" is an empty slot and "!" one that is being written."""
    slots = {}
    for slot, content in ((A, a), (B, b)):
        state = {"": SlotState.EMPTY, "!": SlotState.WRITING}.get(content, SlotState.READY)
        slots[slot] = SlotView(slot, state, IMAGES.get(content))
    root_hash = {A: a, B: b}[running] * 64
    return View(running=running, root_hash=root_hash, default=default, one_shot=one_shot, slots=slots)


ACTIVATED = view(b="2", running=B, default=A)
COMMITTED_B = view(b="2", running=B, default=B)


@dataclass(frozen=True)
class Case:
    name: str
    view: View
    image: str
    expected: object


STAGE = [
    Case("into the empty slot", view(), "2", B),
    Case("over a half-written slot", view(b="!"), "2", B),
    Case("over an older image", view(b="2"), "3", B),
    Case("over an activated image", view(b="2", one_shot=B), "3", B),
    Case("back into a, from b", COMMITTED_B, "3", A),
    Case("what runs", view(), "1", Code.ALREADY_STAGED),
    Case("what is staged", view(b="2"), "2", Code.ALREADY_STAGED),
    Case("over the way back", ACTIVATED, "3", Code.NOT_COMMITTED),
    Case("the way back itself", ACTIVATED, "1", Code.ALREADY_STAGED),
]
ACTIVATE = [
    Case("staged", view(b="2"), "2", B),
    Case("activated already", view(b="2", one_shot=B), "2", B),
    Case("another one is staged", view(b="3"), "2", Code.NOT_STAGED),
    Case("half-written", view(b="!"), "2", Code.NOT_STAGED),
    Case("nothing staged", view(), "2", Code.NOT_STAGED),
    Case("not committed", ACTIVATED, "1", Code.NOT_COMMITTED),
    Case("the older image, once committed", COMMITTED_B, "1", A),
]
COMMIT = [
    Case("what runs", ACTIVATED, "2", True),
    Case("committed already", COMMITTED_B, "2", False),
    Case("another", ACTIVATED, "1", Code.DIGEST_MISMATCH),
    Case("unknown", replace(ACTIVATED, root_hash="f" * 64), "2", Code.SIGNATURE_UNTRUSTED),
]
ROLLBACK = [
    Case("armed", view(b="2", one_shot=B), "", WayBack.CLEAR),
    Case("booted", ACTIVATED, "", WayBack.REBOOT),
    Case("committed", COMMITTED_B, "", Code.NOT_ACTIVATED),
    Case("nothing", view(), "", Code.NOT_ACTIVATED),
]


def outcome(call: object) -> object:
    try:
        return call()  # type: ignore[operator]  # each is a plan without arguments
    except Refused as refusal:
        return refusal.problem.code


@pytest.mark.parametrize("case", STAGE, ids=lambda case: case.name)
def test_stage(case: Case) -> None:
    assert outcome(lambda: plan_stage(case.view, IMAGES[case.image].digest)) is case.expected


@pytest.mark.parametrize("case", ACTIVATE, ids=lambda case: case.name)
def test_activate(case: Case) -> None:
    assert outcome(lambda: plan_activate(case.view, IMAGES[case.image].digest)) is case.expected


@pytest.mark.parametrize("case", COMMIT, ids=lambda case: case.name)
def test_commit(case: Case) -> None:
    assert outcome(lambda: plan_commit(case.view, IMAGES[case.image].digest, expired=False)) is case.expected


def test_commit_too_late() -> None:
    digest = IMAGES["2"].digest
    assert outcome(lambda: plan_commit(ACTIVATED, digest, expired=True)) is Code.COMMIT_WINDOW_EXPIRED
    assert outcome(lambda: plan_commit(COMMITTED_B, digest, expired=True)) is False


@pytest.mark.parametrize("case", ROLLBACK, ids=lambda case: case.name)
def test_rollback(case: Case) -> None:
    assert outcome(lambda: plan_rollback(case.view)) is case.expected


@pytest.mark.parametrize(("highest", "offered"), [(0, 0), (0, 5), (5, 5), (5, 6)])
def test_fence_passes(highest: int, offered: int) -> None:
    assert advance(highest, offered) == offered


def test_stale_fence_names_the_newer() -> None:
    with pytest.raises(Refused, match=r"fence 4.*fence 5") as refusal:
        advance(5, 4)
    assert refusal.value.problem.extra == {"fence": 5}


ARMED = Activation("sha256:2", B, armed=True, booted=None)
OLD = Boot("old", BootReason.NORMAL)


@dataclass(frozen=True)
class BootCase:
    name: str
    history: History
    running: Slot
    one_shot: Slot | None
    reason: BootReason
    activation: Activation | None


BOOTS = [
    BootCase("first of all", History(), A, None, BootReason.FIRST_BOOT, None),
    BootCase("nothing was activated", History(OLD), A, None, BootReason.NORMAL, None),
    BootCase("activated", History(OLD, ARMED), B, None, BootReason.ACTIVATED, replace(ARMED, booted="new")),
    BootCase(
        "activated, and the note that it is armed was lost",
        History(OLD, replace(ARMED, armed=False)),
        B,
        None,
        BootReason.ACTIVATED,
        replace(ARMED, booted="new"),
    ),
    BootCase("did not come up", History(OLD, ARMED), A, None, BootReason.ROLLED_BACK, None),
    BootCase("not tried yet", History(OLD, ARMED), A, B, BootReason.NORMAL, ARMED),
    BootCase("the intent had no effect", History(OLD, replace(ARMED, armed=False)), A, None, BootReason.NORMAL, None),
    BootCase("died in its window", History(OLD, replace(ARMED, booted="old")), A, None, BootReason.ROLLED_BACK, None),
    BootCase(
        "was rolled back",
        History(OLD, replace(ARMED, booted="old"), Leaving.ROLLBACK),
        A,
        None,
        BootReason.ROLLED_BACK,
        None,
    ),
    BootCase(
        "was not committed in time",
        History(OLD, replace(ARMED, booted="old"), Leaving.WINDOW_EXPIRED),
        A,
        None,
        BootReason.WINDOW_EXPIRED,
        None,
    ),
]


@pytest.mark.parametrize("case", BOOTS, ids=lambda case: case.name)
def test_boot(case: BootCase) -> None:
    found = recognise_boot(case.history, boot_id="new", running=case.running, one_shot=case.one_shot)
    assert found == History(Boot("new", case.reason), case.activation, None)
    assert recognise_boot(found, boot_id="new", running=case.running, one_shot=None) == found


def test_window() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert expired(committed=False, uptime=900, window=900)
    assert not expired(committed=False, uptime=899.9, window=900)
    assert not expired(committed=True, uptime=9000, window=900)
    assert deadline(now, committed=True, uptime=0, window=900) is None
    until = deadline(now, committed=False, uptime=300, window=900)
    assert until is not None
    assert (until - now).total_seconds() == 600


class Cut(Exception):
    """The power goes."""


def act(agent: Agent, node: Machine, operation: str, **members: Any) -> None:
    agent.change(operation, {"fence": 1, "bootId": node.boot_id(), **members}, key=f"key-{operation}")


@pytest.fixture
def node(tmp_path: Path, v1: FakeImage, trust: Trust) -> Machine:
    return Machine.make(tmp_path / "node", v1, trust)


@pytest.fixture
def agent(node: Machine) -> Agent:
    """Slot a runs, was activated and came up."""
    agent = Agent(node, machine="node-1", window=600, open_source=lambda base: pytest.fail(base))
    with MemoryFile(node.data / "agent").change() as change:
        history = History(Boot(node.boot_id(), BootReason.ACTIVATED), Activation("sha256:1", A, armed=True, booted="x"))
        change.memory = replace(change.memory, history=history)
    return agent


def test_cut_in_rollback_is_no_bad_image(node: Machine, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    node.set_default(A)
    node.set_one_shot(B)
    with MemoryFile(node.data / "agent").change() as change:
        history = History(Boot(node.boot_id(), BootReason.NORMAL), replace(ARMED, booted=None))
        change.memory = replace(change.memory, history=history)

    clear = node.set_one_shot

    def cut(slot: Slot | None) -> None:
        clear(slot)
        raise Cut

    monkeypatch.setattr(node, "set_one_shot", cut)
    with pytest.raises(Cut):
        act(agent, node, "postRollback")
    left = MemoryFile(node.data / "agent").read().history
    found = recognise_boot(left, boot_id="new", running=A, one_shot=node.boot_choice().one_shot)
    assert found == History(Boot("new", BootReason.NORMAL))


def test_commit_again_clears_the_activation(node: Machine, agent: Agent, v1: FakeImage) -> None:
    node.set_default(A)
    act(agent, node, "postCommit", digest=v1.digest)
    assert MemoryFile(node.data / "agent").read().history.activation is None


def test_commit_again_leaves_the_next_activation(node: Machine, agent: Agent, v1: FakeImage) -> None:
    node.set_default(A)
    with MemoryFile(node.data / "agent").change() as change:
        change.memory = replace(change.memory, history=replace(change.memory.history, activation=ARMED))
    act(agent, node, "postCommit", digest=v1.digest)
    assert MemoryFile(node.data / "agent").read().history.activation == ARMED
