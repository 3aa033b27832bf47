"""The server over real gRPC, as Pulumi's engine calls it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import empty_pb2
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import ConfigureRequest, UpdateRequest
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from sealwave.infra.provider.config import Settings, settings_from_variables
from sealwave.infra.provider.errors import RolloutStoppedError, SettingsError
from sealwave.infra.provider.nodepool import TOKEN, NodePool
from sealwave.infra.provider.provider import SealwaveProvider
from sealwave.infra.provider.resource import Resource
from sealwave.infra.provider.server import Servicer
from sealwave.infra.provider.values import from_plain_map, to_plain_map
from sealwave.rollout.errors import DigestRefused
from sealwave.rollout.model import PoolSpec
from sealwave.rollout.outcome import PoolStatus
from tests.infra.provider.fakes import POOL, V2, FakeFleet, Lines, node, pool_status

URN = f"urn:pulumi:dev::fleet::{TOKEN}::nodes"


def struct(values: Mapping[str, Any]) -> Any:
    return PropertyValue.marshal_map(from_plain_map(values))


@asynccontextmanager
async def served(fleet: Any, log: Lines) -> AsyncIterator[Any]:
    def catalogue(settings: Settings) -> Mapping[str, Resource]:
        return {TOKEN: NodePool(fleet)}

    server = grpc.aio.server()
    provider = SealwaveProvider(log, catalogue, "{}")
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer([], "1.0", provider, engine_address=""), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = provider_pb2_grpc.ResourceProviderStub(channel)
            answer = await stub.Configure(
                provider_pb2.ConfigureRequest(variables={"sealwave:config:credentials": "/nowhere"})
            )
            assert answer.supportsPreview and not answer.acceptSecrets
            yield stub
    finally:
        await server.stop(None)


class RefusingFleet(FakeFleet):
    def look(self, spec: PoolSpec) -> PoolStatus:
        raise DigestRefused(V2, reason="node-1 failed", when="today", who="pulumi")


class FaultyFleet(FakeFleet):
    def look(self, spec: PoolSpec) -> PoolStatus:
        raise KeyError("a bug")


def test_check_diff_create_preview_update_and_delete() -> None:
    async def go() -> None:
        log, fleet = Lines(), FakeFleet(status=pool_status(node("node-1", right=False, digest=V2)))
        async with served(fleet, log) as stub:
            checked = await stub.Check(provider_pb2.CheckRequest(urn=URN, news=struct({**POOL, "waves": [1.5]})))
            assert [failure.property for failure in checked.failures] == ["waves"]
            preview = await stub.Create(provider_pb2.CreateRequest(urn=URN, properties=struct(POOL), preview=True))
            assert preview.id == "" and fleet.rolled == []
            created = await stub.Create(provider_pb2.CreateRequest(urn=URN, properties=struct(POOL)))
            assert created.id == "workers" and len(fleet.rolled) == 1
            diff = await stub.Diff(
                provider_pb2.DiffRequest(urn=URN, id="workers", olds=created.properties, news=struct(POOL))
            )
            assert diff.changes == provider_pb2.DiffResponse.DIFF_SOME
            assert diff.detailedDiff["nodes.node-1"].kind == provider_pb2.PropertyDiff.UPDATE
            fleet.status = pool_status(node("node-1"))
            diff = await stub.Diff(
                provider_pb2.DiffRequest(urn=URN, id="workers", olds=created.properties, news=struct(POOL))
            )
            assert diff.changes == provider_pb2.DiffResponse.DIFF_NONE
            read = await stub.Read(
                provider_pb2.ReadRequest(urn=URN, id="workers", properties=created.properties, inputs=struct(POOL))
            )
            properties = to_plain_map(PropertyValue.unmarshal_map(read.properties))
            assert properties["nodes"]["node-1"]["digest"] == V2
            await stub.Delete(provider_pb2.DeleteRequest(urn=URN, id="workers", properties=created.properties))
            assert len(fleet.rolled) == 1

    asyncio.run(go())


@pytest.mark.parametrize(
    ("fleet", "code", "says"),
    [
        (RefusingFleet(), grpc.StatusCode.FAILED_PRECONDITION, "is refused since today"),
        (FaultyFleet(), grpc.StatusCode.INTERNAL, "a fault of its own (KeyError: 'a bug')"),
    ],
)
def test_an_error_is_one_paragraph_without_a_stack_trace(fleet: FakeFleet, code: grpc.StatusCode, says: str) -> None:
    async def go() -> None:
        async with served(fleet, Lines()) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Diff(provider_pb2.DiffRequest(urn=URN, id="w", olds=struct(POOL), news=struct(POOL)))
            assert caught.value.code() is code
            assert says in str(caught.value.details())
            assert "File" not in str(caught.value.details()) and "\n" not in str(caught.value.details())

    asyncio.run(go())


def test_cancel_holds_the_running_update_which_then_returns_by_itself() -> None:
    async def go() -> None:
        log, fleet = Lines(), FakeFleet(waits_for_stop=True)
        async with served(fleet, log) as stub:
            running = asyncio.ensure_future(
                stub.Update(provider_pb2.UpdateRequest(urn=URN, id="w", olds=struct(POOL), news=struct(POOL)))
            )
            while not fleet.rolled:
                await asyncio.sleep(0.01)
            await stub.Cancel(empty_pb2.Empty())
            with pytest.raises(grpc.aio.AioRpcError, match="held at a safe place"):
                await running

    asyncio.run(go())


def test_a_time_limit_that_is_over_holds_the_update() -> None:
    async def go() -> None:
        async with served(FakeFleet(waits_for_stop=True), Lines()) as stub:
            request = provider_pb2.UpdateRequest(urn=URN, id="w", olds=struct(POOL), news=struct(POOL), timeout=0.05)
            with pytest.raises(grpc.aio.AioRpcError, match="held at a safe place"):
                await stub.Update(request)

    asyncio.run(go())


def test_a_type_that_is_not_ours_and_a_function_are_refused() -> None:
    async def go() -> None:
        async with served(FakeFleet(), Lines()) as stub:
            with pytest.raises(grpc.aio.AioRpcError, match="no resource type sealwave:index:Fleet"):
                urn = URN.replace("NodePool", "Fleet")
                await stub.Check(provider_pb2.CheckRequest(urn=urn, news=struct({})))
            with pytest.raises(grpc.aio.AioRpcError, match="no function"):
                await stub.Invoke(provider_pb2.InvokeRequest(tok="sealwave:index:list"))

    asyncio.run(go())


def test_a_changed_path_never_replaces_the_provider() -> None:
    async def go() -> None:
        async with served(FakeFleet(), Lines()) as stub:
            answer = await stub.DiffConfig(
                provider_pb2.DiffRequest(olds=struct({"credentials": "/a"}), news=struct({"credentials": "/b"}))
            )
            assert answer.changes == provider_pb2.DiffResponse.DIFF_SOME
            assert list(answer.replaces) == []

    asyncio.run(go())


def test_settings_name_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="sealwave:credentials is missing"):
        settings_from_variables({"sealwave:config:image": "{}"}).credentials_path()
    with pytest.raises(SettingsError, match="not a folder"):
        settings_from_variables({"credentials": str(tmp_path / "none")}).credentials_path()
    assert settings_from_variables({"credentials": str(tmp_path)}).credentials_path() == tmp_path


def test_rest_brings_running_work_to_its_hold() -> None:
    async def go() -> None:
        fleet = FakeFleet(waits_for_stop=True)
        provider = SealwaveProvider(Lines(), lambda settings: {TOKEN: NodePool(fleet)}, "{}")
        await provider.configure(ConfigureRequest({}, {}, False, False))
        running = asyncio.ensure_future(
            provider.update(UpdateRequest(URN, "w", {}, from_plain_map(POOL), 0.0, [], False))
        )
        while not fleet.rolled:
            await asyncio.sleep(0.01)
        await provider.rest()
        assert not provider.busy()
        with pytest.raises(RolloutStoppedError, match="held at a safe place"):
            await running

    asyncio.run(go())
