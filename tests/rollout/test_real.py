"""The production driver on the real API server, with simulated machines behind the production machine client."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sealwave.infra.lab.cluster import load_documents
from sealwave.infra.lab.controlplane import ControlPlane
from sealwave.infra.lab.supervisor import ADDON
from sealwave.rollout import Deadlines, Driver, Fleet, Outcome, Phase, PoolSpec, Timing, connect, release_digest, status
from sealwave.rollout.errors import DigestRefused, JournalBroken
from tests.simulated.cluster import workload
from tests.simulated.fleet import SimulatedFleet

pytestmark = pytest.mark.tools


@pytest.fixture
def simulated(control_plane: ControlPlane, tmp_path: Path) -> Iterator[SimulatedFleet]:
    control_plane.cluster.apply(load_documents(ADDON))
    with SimulatedFleet(tmp_path / "fleet", control_plane, nodes=3, pool="real") as fleet:
        control_plane.cluster.apply(workload("real", replicas=3, available=2))
        yield fleet
        control_plane.cluster.delete("/apis/apps/v1/namespaces/default/deployments/real")
        control_plane.cluster.delete("/apis/policy/v1/namespaces/default/poddisruptionbudgets/real")
        control_plane.cluster.delete("/apis/sealwave.dev/v1alpha1/journals/real")


def pool_of(fleet: SimulatedFleet, version: str) -> PoolSpec:
    image = fleet.images[version]
    return PoolSpec(
        name=fleet.pool,
        selector={"example.com/pool": fleet.pool},
        digest=image.digest,
        source=f"https://127.0.0.1:{fleet._port}/{image.digest.replace(':', '-')}",
        machines={machine.name: machine.url for machine in fleet.machines},
        deadlines=Deadlines(stage=30, cordon=20, evict=60, replace=20, boot=20, verify=5, workload=40, unwind=30),
    )


def roll(live: Fleet, pool: PoolSpec) -> Outcome:
    driver = Driver(pool, live, who="test", timing=Timing(poll=0.2, grace=10))
    return driver.run(threading.Event(), lambda progress: print(f"{progress.kind:8} {progress.text}"))


def test_good_bad_released_and_good_again(simulated: SimulatedFleet) -> None:
    live = connect(simulated.credentials)
    to_v2 = roll(live, pool_of(simulated, "v2"))
    assert to_v2.result == "converged", to_v2.summary
    assert to_v2.records > 50
    assert simulated.cordoned() == []
    v2, v3 = (simulated.images[version].digest for version in ("v2", "v3"))
    assert simulated.digests() == [v2] * 3
    boots = simulated.boots()

    to_v3 = roll(live, pool_of(simulated, "v3"))
    print(to_v3.summary)
    assert to_v3.result == "halted"
    assert "kubelet" in to_v3.summary
    assert simulated.digests() == [v2] * 3
    assert simulated.boots() == [boots[0] + 2, boots[1], boots[2]]
    assert simulated.cordoned() == ["real-1"]
    now = status(pool_of(simulated, "v2"), live)
    assert now.phase is Phase.Halted
    assert [node.right for node in now.nodes] == [False, True, True]
    with pytest.raises(DigestRefused, match="release-digest"):
        roll(live, pool_of(simulated, "v3"))

    back = roll(live, pool_of(simulated, "v2"))
    assert back.result == "converged", back.summary
    assert simulated.cordoned() == []
    release_digest(live, v3, reason="tried again on purpose", who="a person")
    assert status(pool_of(simulated, "v2"), live).refused == {}
    assert status(pool_of(simulated, "v2"), live).right

    journal = simulated.journal()
    journal["spec"]["records"][5] = journal["spec"]["records"][5].replace("real-1", "real-2", 1)
    simulated.plane.cluster.apply([{**journal, "metadata": {"name": "real"}}])
    with pytest.raises(JournalBroken, match="record 5 was changed"):
        roll(live, pool_of(simulated, "v2"))


def test_a_driver_that_goes_away_is_resumed_by_another(simulated: SimulatedFleet) -> None:
    pool = replace(pool_of(simulated, "v2"), waves=(2, 1))
    halt = simulated.halt_at("postActivate", "after")
    stop = threading.Event()

    class Gone(BaseException):
        """The first driver dies here."""

    def die(progress: object) -> None:
        if halt.reached.is_set():
            raise Gone

    first = threading.Thread(target=lambda: _until_gone(Driver(pool, connect(simulated.credentials)), stop, die, Gone))
    first.start()
    assert halt.reached.wait(60)
    second = roll(connect(simulated.credentials), pool)
    halt.go.set()
    stop.set()
    first.join(30)
    assert second.result == "converged", second.summary
    assert simulated.cordoned() == []
    assert simulated.digests() == [simulated.images["v2"].digest] * 3


def _until_gone(driver: Driver, stop: threading.Event, die: object, gone: type[BaseException]) -> None:
    try:
        driver.run(stop, die)  # type: ignore[arg-type]  # a report that raises
    except (gone, Exception) as error:
        print(f"the first driver ended: {type(error).__name__}: {error}")
