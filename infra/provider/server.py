"""The provider's gRPC server: the only module that knows Pulumi's wire protocol.

It is the SDK's own servicer with three corrections, each for a trap of the SDK 3.272:
1. An error becomes a status with its own sentence. The SDK appends a stack trace to every error's text.
2. `DiffConfig` never asks for a replacement. The SDK puts a bool where the protocol has an enum, so that "changed"
   reads as "unchanged", and a changed path must not replace the provider and with it every resource.
3. A call that is not implemented says so with the proper status instead of an unexpected error.
"""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
import grpc.aio
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from sealwave.infra.errors import InfraError
from sealwave.infra.provider.provider import SealwaveProvider
from sealwave.rollout.errors import RolloutError
from sealwave.signing.errors import SigningError

MESSAGE_LIMIT_BYTES = 400 * 1024 * 1024
"""The largest message, as in Pulumi's own SDKs: a stack's state can be large."""

_EXPECTED: Final = (InfraError, RolloutError, SigningError, OSError)
_LOGGER = logging.getLogger(__name__)

_Context = Any  # grpc.aio.ServicerContext; the generated code gives it no type parameters


class Servicer(ProviderServicer):
    """Answers Pulumi's calls."""

    async def Check(self, request: Any, context: _Context) -> Any:
        """Check a resource's inputs."""
        return await _cleanly(super().Check, request, context)

    async def Configure(self, request: Any, context: _Context) -> Any:
        """Take the provider's configuration."""
        return await _cleanly(super().Configure, request, context)

    async def Diff(self, request: Any, context: _Context) -> Any:
        """Compare a resource with what is wanted."""
        return await _cleanly(super().Diff, request, context)

    async def Create(self, request: Any, context: _Context) -> Any:
        """Create a resource."""
        return await _cleanly(super().Create, request, context)

    async def Update(self, request: Any, context: _Context) -> Any:
        """Update a resource."""
        return await _cleanly(super().Update, request, context)

    async def Read(self, request: Any, context: _Context) -> Any:
        """Read a resource."""
        return await _cleanly(super().Read, request, context)

    async def Delete(self, request: Any, context: _Context) -> Any:
        """Delete a resource."""
        return await _cleanly(super().Delete, request, context)

    async def Invoke(self, request: Any, context: _Context) -> Any:
        """Answer that there are no functions."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the provider sealwave has no function {request.tok}")

    async def DiffConfig(self, request: Any, context: _Context) -> Any:
        """Answer that a changed configuration replaces nothing."""
        same = request.olds == request.news
        changes = provider_pb2.DiffResponse.DIFF_NONE if same else provider_pb2.DiffResponse.DIFF_SOME
        return provider_pb2.DiffResponse(changes=changes)


async def _cleanly(call: Callable[[Any, _Context], Awaitable[Any]], request: Any, context: _Context) -> Any:
    """Make one call; an error ends it with one paragraph.

    The SDK's wrapper raises a new exception from inside its handler, so the true one is its context.
    """
    try:
        return await call(request, context)
    except Exception as wrapped:
        cause = wrapped.__context__ or wrapped
        if isinstance(cause, _EXPECTED):
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(cause))
        _LOGGER.debug("a provider call failed", exc_info=cause)
        await context.abort(
            grpc.StatusCode.INTERNAL,
            f"the provider sealwave met a fault of its own ({type(cause).__name__}: {cause}); run again with "
            "SEALWAVE_DEBUG=1 to see where, and report it",
        )


def serve(make: Callable[[str], SealwaveProvider], version: str, arguments: list[str]) -> None:
    """Serve until Pulumi ends this process.

    Args:
        make: makes the provider, given the engine's address.
        version: the provider's version.
        arguments: the command line, whose first positional argument is the engine's address.
    """
    parser = argparse.ArgumentParser(
        prog="pulumi-resource-sealwave",
        description="The Pulumi provider of sealwave. Pulumi starts it by itself; it is of no use on its own.",
    )
    parser.add_argument("engine", help="the address of Pulumi's engine")
    known, _ = parser.parse_known_args(arguments)
    engine: str = known.engine

    async def run() -> None:
        server = grpc.aio.server(options=[("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES)])
        provider = make(engine)
        servicer = Servicer(arguments, version, provider, engine_address=engine)
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
        port = server.add_insecure_port(address="127.0.0.1:0")
        await server.start()
        # Pulumi reads the port from the first line of standard output.
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        await _asked_to_end()
        await provider.rest()
        await server.stop(grace=None)

    asyncio.run(run())


async def _asked_to_end() -> None:
    """Wait for SIGINT or SIGTERM.

    Pulumi starts each plugin in a process group of its own, so a Ctrl-C in the terminal arrives as the call `Cancel`;
    SIGINT is how the engine ends a plugin that it no longer needs, with five seconds until SIGKILL.
    """
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()
