"""The live fleet: the engine of `sealwave.rollout`, reached with the credentials that the provider was given."""

import threading
from collections.abc import Callable

from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    stop_when_event_set,
    wait_fixed,
)

from sealwave.infra.provider.config import Settings
from sealwave.rollout.access import connect
from sealwave.rollout.driver import Driver
from sealwave.rollout.errors import AddonMissing, ClusterForbidden
from sealwave.rollout.model import Plan, PoolSpec
from sealwave.rollout.outcome import Outcome, PoolStatus, Progress
from sealwave.rollout.view import preview, status

LOOK_LIMIT_SECONDS = 5.0
"""How long one machine or the API server may take to answer a read. A preview must not hang on a dead node."""

ADDON_LIMIT_SECONDS = 10.0
"""How long a freshly installed addon may take to be served; under load two seconds were seen."""

ADDON_POLL_SECONDS = 0.5
"""How often it is tried meanwhile."""


class LiveFleet:
    """Connects anew for each call, so that a renewed credential is taken without a restart."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def look(self, spec: PoolSpec) -> PoolStatus:
        """Read the pool's journal and each of its nodes with the observer's certificate."""
        folder = self._settings.credentials_path()
        return status(spec, connect(folder, role="observer", timeout=LOOK_LIMIT_SECONDS))

    def plan(self, spec: PoolSpec) -> Plan:
        """Return what would be rolled now; touches nothing."""
        folder = self._settings.credentials_path()
        return preview(spec, connect(folder, role="observer", timeout=LOOK_LIMIT_SECONDS))

    def roll(self, spec: PoolSpec, stop: threading.Event, report: Callable[[Progress], None]) -> Outcome:
        """Start or resume the rollout with the updater's certificate, until it ends, halts or is held.

        The addon may have been installed a moment ago by the same program: until the API server serves it and knows the
        driver's rights, a run cannot even begin, and is begun again.
        """
        fleet = connect(self._settings.credentials_path(), role="updater")
        retrying = Retrying(
            stop=stop_after_delay(ADDON_LIMIT_SECONDS) | stop_when_event_set(stop),
            wait=wait_fixed(ADDON_POLL_SECONDS),
            retry=retry_if_exception_type((AddonMissing, ClusterForbidden)),
            reraise=True,
        )
        return retrying(lambda: Driver(spec, fleet, who="pulumi").run(stop, report))
