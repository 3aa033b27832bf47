"""Killed with SIGKILL at a named instant, resumed from the journal in the cluster alone.

The machine stands still at one call, so the instant is exact: the intent is journaled, and the effect has not happened
(`before`) or has happened without the driver having heard of it (`after`).
"""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from sealwave.infra.lab.controlplane import ControlPlane
from tests.simulated.cluster import workload
from tests.simulated.fleet import SimulatedFleet
from tests.simulated.stack import wait_gone

pytestmark = [
    pytest.mark.tools,
    pytest.mark.timeout(240),
    # A client that is killed, and a machine that reboots, leave TLS connections without a goodbye: that is the test.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ORPHAN_SECONDS = 10.0
"""In which a provider whose CLI was killed has ended; half of it is its own grace."""

Victims = Literal["cli", "cli and provider"]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, plane: ControlPlane) -> Iterator[SimulatedFleet]:
    """Two nodes that run v1, with the addon installed and a workload that must not go away."""
    with SimulatedFleet(tmp_path_factory.mktemp("fleet"), plane, nodes=2) as running:
        plane.cluster.apply(workload("service", replicas=2, available=1))
        running.want("v1", waves=(1,))
        running.stack.up().require()
        yield running


@pytest.mark.parametrize("victims", ["cli", "cli and provider"])
@pytest.mark.parametrize(
    ("operation", "when", "effect", "labels"),
    [
        pytest.param("postActivate", "before", "Activate", "kept", id="after an intent and before its effect"),
        pytest.param("postPower", "before", "Reboot", "removed", id="after activate and before the reboot"),
        pytest.param("postCommit", "after", "Commit", "kept", id="between commit and uncordon"),
    ],
)
def test_killed_and_resumed(
    fleet: SimulatedFleet,
    operation: str,
    when: Literal["before", "after"],
    effect: str,
    labels: str,
    victims: Victims,
) -> None:
    version = "v2" if fleet.digests()[0] == fleet.images["v1"].digest else "v1"
    wanted = fleet.images[version].digest
    fleet.want(version, waves=(1,))
    kill_at(fleet, operation, when, victims)
    assert open_intents(fleet)[-1]["kind"] == effect
    assert len(fleet.cordoned()) == 1
    fleet.stack.forget_working_files()
    if labels == "removed":
        fleet.remove_labels()
    fleet.stack.run("cancel", "--yes").require()
    output = fleet.stack.up().require()
    assert "resumes with fence" in output
    assert fleet.digests() == [wanted] * 2
    assert all(machine.platform.boot_choice().default is machine.platform.running().slot for machine in fleet.machines)
    assert fleet.cordoned() == []
    assert [node["metadata"].get("annotations", {}).get("sealwave.dev/owner") for node in fleet.nodes()] == [None] * 2
    assert open_intents(fleet) == []


def test_ctrl_c_reaches_a_safe_hold_and_the_next_up_resumes(fleet: SimulatedFleet) -> None:
    version = "v2" if fleet.digests()[0] == fleet.images["v1"].digest else "v1"
    fleet.want(version, waves=(1,))
    halt = fleet.halt_at("postActivate", "before")
    cli = fleet.stack.start("up", "--yes", "--skip-preview")
    try:
        assert halt.reached.wait(90), fleet.stack.log.read_text()
        cli.send_signal(signal.SIGINT)
        halt.go.set()
        assert cli.wait(60) != 0
    finally:
        halt.go.set()
        fleet.stack.end_session(cli)
    output = fleet.stack.log.read_text()
    assert "held" in output and "Traceback" not in output
    # The node at the halt is unwound or kept cordoned by its owner; the other one was not touched.
    assert len(fleet.cordoned()) <= 1
    fleet.stack.up().require()
    assert fleet.digests() == [fleet.images[version].digest] * 2
    assert fleet.cordoned() == []


def test_a_journal_with_one_changed_record_is_refused_by_name(fleet: SimulatedFleet) -> None:
    journal = fleet.journal()
    records = journal["spec"]["records"]
    number = len(records) // 2
    changed = [*records[:number], records[number].replace('"at":1', '"at":2', 1), *records[number + 1 :]]
    assert changed != records
    boots = fleet.boots()
    fleet.write_journal(changed)
    version = "v2" if fleet.digests()[0] == fleet.images["v1"].digest else "v1"
    fleet.want(version, waves=(1,))
    output = fleet.stack.up().require(1)
    assert f"record {json.loads(records[number])['seq']}" in output
    assert "Traceback" not in output
    assert fleet.boots() == boots
    fleet.write_journal(records)
    fleet.stack.up().require()


def kill_at(fleet: SimulatedFleet, operation: str, when: Literal["before", "after"], victims: Victims) -> None:
    """Roll until a machine gets the call, then kill; return when CLI and provider are gone."""
    halt = fleet.halt_at(operation, when)
    cli = fleet.stack.start("up", "--yes", "--skip-preview")
    provider = fleet.stack.provider_of(cli)
    try:
        assert halt.reached.wait(90), fleet.stack.log.read_text()
        os.kill(cli.pid, signal.SIGKILL)
        if victims == "cli and provider":
            os.kill(provider, signal.SIGKILL)
        cli.wait(10)
        wait_gone(provider, limit=ORPHAN_SECONDS)
    finally:
        halt.go.set()
        fleet.stack.end_session(cli)


def open_intents(fleet: SimulatedFleet) -> list[dict[str, Any]]:
    """The effects that are journaled as intended and not as done, oldest first."""
    records = [json.loads(line) for line in fleet.journal()["spec"]["records"]]
    intents: dict[int, dict[str, Any]] = {}
    for record in records:
        if record["kind"] == "intent":
            intents[record["seq"]] = record["data"]
        elif record["kind"] == "done":
            intents.pop(record["data"]["intent"], None)
        elif record["kind"] in ("begin", "resume"):
            intents.clear()
    return list(intents.values())
