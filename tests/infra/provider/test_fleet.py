import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sealwave.infra.provider import fleet
from sealwave.infra.provider.config import Settings
from sealwave.infra.provider.fleet import LiveFleet
from sealwave.infra.provider.poolspec import spec_of
from sealwave.rollout.errors import AddonMissing, ClusterUnreachable, RolloutError
from sealwave.rollout.outcome import Outcome, Progress
from tests.infra.provider.fakes import CONVERGED, POOL


@pytest.fixture
def roles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Connect to nothing; the list says with which certificates."""
    used: list[str] = []
    monkeypatch.setattr(fleet, "connect", lambda folder, *, role, timeout=0.0: used.append(role))
    monkeypatch.setattr(fleet, "ADDON_POLL_SECONDS", 0.001)
    return used


def driver_that_raises(*errors: RolloutError) -> type:
    left = list(errors)

    class Driver:
        def __init__(self, *arguments: Any, **named: Any) -> None:
            pass

        def run(self, stop: threading.Event, report: Callable[[Progress], None]) -> Outcome:
            if left:
                raise left.pop(0)
            return CONVERGED

    return Driver


def test_an_addon_that_is_not_served_yet_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, roles: list[str]
) -> None:
    monkeypatch.setattr(fleet, "Driver", driver_that_raises(AddonMissing("Journal"), AddonMissing("Ledger")))
    outcome = LiveFleet(Settings(tmp_path)).roll(spec_of(POOL), threading.Event(), lambda progress: None)
    assert outcome is CONVERGED
    assert roles == ["updater"]


def test_an_addon_that_is_missing_is_said_at_once_when_a_person_stops(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, roles: list[str]
) -> None:
    stop = threading.Event()
    stop.set()
    monkeypatch.setattr(fleet, "Driver", driver_that_raises(AddonMissing("Journal")))
    with pytest.raises(AddonMissing):
        LiveFleet(Settings(tmp_path)).roll(spec_of(POOL), stop, lambda progress: None)


def test_another_error_is_not_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, roles: list[str]) -> None:
    monkeypatch.setattr(fleet, "Driver", driver_that_raises(ClusterUnreachable("https://127.0.0.1:1", "refused")))
    with pytest.raises(ClusterUnreachable):
        LiveFleet(Settings(tmp_path)).roll(spec_of(POOL), threading.Event(), lambda progress: None)


def test_a_look_needs_the_observer_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, roles: list[str]) -> None:
    monkeypatch.setattr(fleet, "status", lambda spec, connected: None)
    monkeypatch.setattr(fleet, "preview", lambda spec, connected: None)
    live = LiveFleet(Settings(tmp_path))
    live.look(spec_of(POOL))
    live.plan(spec_of(POOL))
    assert roles == ["observer", "observer"]
