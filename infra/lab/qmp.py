"""QEMU's control socket (QEMU Machine Protocol): one command at a time."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from sealwave.infra.errors import MachineUnreachable

__all__ = ["command"]

# Seconds for one answer: QEMU answers at once unless its main loop hangs.
TIMEOUT = 10.0


def command(socket_path: Path, name: str, *, machine: str, **arguments: Any) -> Any:
    """Execute one command and return its result; raises MachineUnreachable when nobody answers or it is refused."""
    try:
        # A socket's address has 107 bytes at most, a lab's path may be longer: go by the folder's descriptor.
        folder = os.open(socket_path.parent, os.O_PATH)
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(TIMEOUT)
                connection.connect(f"/proc/self/fd/{folder}/{socket_path.name}")
                return _talk(connection, name, arguments, machine)
        finally:
            os.close(folder)
    except (OSError, ValueError) as error:
        raise MachineUnreachable(machine, f"{name}: {error}") from error


def _talk(connection: socket.socket, name: str, arguments: dict[str, Any], machine: str) -> Any:
    with connection.makefile("rwb") as stream:
        stream.readline()  # The greeting.
        for request in ({"execute": "qmp_capabilities"}, {"execute": name, "arguments": arguments}):
            stream.write(json.dumps(request).encode() + b"\n")
            stream.flush()
            answer = _answer(stream.readline, machine)
        return answer


def _answer(readline: Any, machine: str) -> Any:
    while line := readline():
        message = json.loads(line)
        if "error" in message:
            raise MachineUnreachable(machine, str(message["error"].get("desc")))
        if "return" in message:  # Everything else is an event that nobody asked for.
            return message["return"]
    raise MachineUnreachable(machine, "the connection was closed")
