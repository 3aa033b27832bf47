"""Pulumi's log: the lines that a person sees while a rollout runs."""

from enum import Enum
from typing import Protocol

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

LOG_LIMIT_SECONDS = 5.0
"""How long one line may take. A line is never worth a stalled rollout, so a log that does not answer is left alone."""


class Severity(Enum):
    """How Pulumi shows a line."""

    INFO = engine_pb2.INFO
    WARNING = engine_pb2.WARNING
    ERROR = engine_pb2.ERROR


class Log(Protocol):
    """What the resources need of a log."""

    def line(self, urn: str, text: str, *, severity: Severity = Severity.INFO, passing: bool = False) -> None:
        """Show one line beside the resource `urn`; a passing line is replaced by the next one."""


class EngineLog:
    """Sends lines to the engine that started this provider. Safe to use from any thread."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self._stub = engine_pb2_grpc.EngineStub(self._channel)

    def line(self, urn: str, text: str, *, severity: Severity = Severity.INFO, passing: bool = False) -> None:
        """Show one line; an engine that is gone is no error, because `lifeline` ends this process soon after."""
        request = engine_pb2.LogRequest(severity=severity.value, message=text, urn=urn, ephemeral=passing)
        try:
            self._stub.Log(request, timeout=LOG_LIMIT_SECONDS)
        except grpc.RpcError:
            return
