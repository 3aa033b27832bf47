"""Pulumi's provider calls, each handed to the kind of resource that it is about.

Rules:
1. Work blocks in a thread, so that `Cancel` is heard while a rollout runs.
2. Ctrl-C sets the stop event of every running call; the call returns by itself once the fleet is at a safe hold.
3. A time limit that the program sets (Pulumi's `customTimeouts`) does the same when it is over.
4. A coroutine that Pulumi cancels (a second Ctrl-C, a killed CLI) sets it too: the thread cannot be cut off.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

from pulumi.provider.experimental import provider as api

from sealwave.infra.provider.config import Settings, settings_from_variables
from sealwave.infra.provider.enginelog import Log, Severity
from sealwave.infra.provider.errors import UnknownResourceError
from sealwave.infra.provider.resource import Change, Difference, Resource, Session
from sealwave.infra.provider.values import from_plain_map, to_plain_map

_Answer = TypeVar("_Answer")

REST_SECONDS = 4.0
"""How long running calls may take to their safe hold once Pulumi ends this process; it kills after five seconds."""

REST_POLL_SECONDS = 0.1
"""How often they are looked at."""

Catalogue = Callable[[Settings], Mapping[str, Resource]]
"""Makes the resources by Pulumi type token, once the settings are known."""


class SealwaveProvider(api.Provider):
    """The provider `sealwave`: keeps the running calls and finds the resource of each."""

    def __init__(self, log: Log, catalogue: Catalogue, schema: str) -> None:
        self._log = log
        self._catalogue = catalogue
        self._schema = schema
        self._resources: Mapping[str, Resource] = {}
        self._running: set[threading.Event] = set()
        self._lock = threading.Lock()

    def hold(self) -> None:
        """Ask every running call to reach a safe hold; returns at once, from any thread."""
        with self._lock:
            for stop in self._running:
                stop.set()

    def busy(self) -> bool:
        """Tell whether a call is still running, also one whose coroutine was cancelled."""
        with self._lock:
            return bool(self._running)

    async def rest(self) -> None:
        """Ask for a safe hold and return once no call runs, or `REST_SECONDS` later."""
        self.hold()
        for _ in range(round(REST_SECONDS / REST_POLL_SECONDS)):
            if not self.busy():
                return
            await asyncio.sleep(REST_POLL_SECONDS)

    async def cancel(self) -> None:
        """Answer the first Ctrl-C."""
        self.hold()

    async def get_schema(self, request: api.GetSchemaRequest) -> api.GetSchemaResponse:
        """Return the package schema, from which SDKs of other languages are made."""
        return api.GetSchemaResponse(schema=self._schema)

    async def check_config(self, request: api.CheckRequest) -> api.CheckResponse:
        """Accept the configuration; paths are looked at when they are first needed, which a preview may never do."""
        return api.CheckResponse(inputs=request.new_inputs)

    async def configure(self, request: api.ConfigureRequest) -> api.ConfigureResponse:
        """Take the settings and make the resources."""
        settings = settings_from_variables({**request.variables, **_texts(to_plain_map(request.args))})
        self._resources = self._catalogue(settings)
        return api.ConfigureResponse(
            accept_secrets=False, supports_preview=True, accept_outputs=False, accept_resources=False
        )

    async def check(self, request: api.CheckRequest) -> api.CheckResponse:
        """Check the inputs of a resource and fill in defaults."""
        resource = self._resource(request.type)
        inputs = to_plain_map(request.new_inputs)
        filled, failures = await self._work(request.urn, lambda session: resource.check(inputs))
        return api.CheckResponse(
            inputs=from_plain_map(filled),
            failures=[api.CheckFailure(failure.input, failure.reason) for failure in failures],
        )

    async def diff(self, request: api.DiffRequest) -> api.DiffResponse:
        """Compare inputs, and the live fleet with what is wanted."""
        resource = self._resource(request.type)
        old, new = to_plain_map(request.old_state), to_plain_map(request.new_inputs)
        found = await self._work(request.urn, lambda session: resource.diff(session, old=old, new=new))
        return api.DiffResponse(
            changes=bool(found),
            replaces=[item.path for item in found if item.change is Change.REPLACE],
            diffs=[item.path for item in found],
            detailed_diff={item.path: _property_diff(item) for item in found},
            delete_before_replace=True,
        )

    async def create(self, request: api.CreateRequest) -> api.CreateResponse:
        """Create, or say what creating would do."""
        resource = self._resource(request.type)
        new = to_plain_map(request.properties)
        if request.preview:
            outputs = await self._work(request.urn, lambda session: resource.preview(session, new=new))
            return api.CreateResponse(resource_id="", properties=from_plain_map(outputs))
        identity, outputs = await self._work(
            request.urn, lambda session: resource.apply(session, new=new), limit=request.timeout
        )
        return api.CreateResponse(resource_id=identity, properties=from_plain_map(outputs))

    async def update(self, request: api.UpdateRequest) -> api.UpdateResponse:
        """Update, or say what updating would do."""
        resource = self._resource(request.type)
        new = to_plain_map(request.news)
        if request.preview:
            outputs = await self._work(request.urn, lambda session: resource.preview(session, new=new))
        else:
            _, outputs = await self._work(
                request.urn, lambda session: resource.apply(session, new=new), limit=request.timeout
            )
        return api.UpdateResponse(properties=from_plain_map(outputs))

    async def read(self, request: api.ReadRequest) -> api.ReadResponse:
        """Read the outputs as they are now, for `pulumi refresh`."""
        resource = self._resource(request.type)
        old = to_plain_map(request.properties)
        outputs = await self._work(request.urn, lambda session: resource.read(session, old=old))
        return api.ReadResponse(
            resource_id=request.resource_id, properties=from_plain_map(outputs), inputs=request.inputs
        )

    async def delete(self, request: api.DeleteRequest) -> None:
        """Forget a resource."""
        resource = self._resource(request.type)
        old = to_plain_map(request.properties)
        await self._work(request.urn, lambda session: resource.delete(session, old=old))

    def _resource(self, token: str) -> Resource:
        """Return the resource of a type token.

        Raises:
            UnknownResourceError: for a type that this provider does not have.
        """

        resource = self._resources.get(token)
        if resource is None:
            raise UnknownResourceError(token, tuple(self._resources))
        return resource

    async def _work(self, urn: str, work: Callable[[Session], _Answer], *, limit: float = 0.0) -> _Answer:
        """Run blocking work in a thread with a stop event, which `hold` sets and a limit above 0 (seconds) too."""
        stop = threading.Event()
        clock = asyncio.get_running_loop().call_later(limit, stop.set) if limit > 0 else None
        session = Session(
            urn=urn,
            say=lambda text: self._log.line(urn, text),
            pass_by=lambda text: self._log.line(urn, text, passing=True),
            warn=lambda text: self._log.line(urn, text, severity=Severity.WARNING),
            stop=stop,
        )

        def run() -> _Answer:
            try:
                return work(session)
            finally:
                with self._lock:
                    self._running.discard(stop)

        with self._lock:
            self._running.add(stop)
        try:
            return await asyncio.to_thread(run)
        except asyncio.CancelledError:
            stop.set()
            raise
        finally:
            if clock:
                clock.cancel()


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    """Keep the arguments that are text; the others (`version`, objects of the program) are not for the provider."""
    return {key: value for key, value in values.items() if isinstance(value, str)}


def _property_diff(item: Difference) -> api.PropertyDiff:
    """Translate one difference."""
    kind = api.PropertyDiffKind.UPDATE_REPLACE if item.change is Change.REPLACE else api.PropertyDiffKind.UPDATE
    return api.PropertyDiff(kind, item.of_input)
