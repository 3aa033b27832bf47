"""TCP ports of the loopback address: free ones, and who holds one that is not."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from sealwave.infra.errors import PortInUse

__all__ = ["LOOPBACK", "free_ports", "holder", "require_free"]

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on now; all are held until the last is found, so that none comes twice."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return [int(one.getsockname()[1]) for one in sockets]


def require_free(port: int, purpose: str) -> None:
    """Raise PortInUse, with the holder's name where it is known, unless one can listen on this port now."""
    with socket.socket() as probe:
        # As servers do: a connection of an earlier run in TIME_WAIT does not count as use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise PortInUse(port, purpose, holder(port)) from error


def holder(port: int) -> str | None:
    """`NAME (process N)` of the process that listens on this port, None when this user may not know."""
    inode = _listening_inode(port)
    if inode is None:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if str(descriptor.readlink()) == f"socket:[{inode}]":
                    name = (process / "comm").read_text().strip()
                    return f"{name} (process {process.name})"
    return None


def _listening_inode(port: int) -> str | None:
    # Columns of /proc/net/tcp: sl, local address (hex address:port), remote address, state (0A = LISTEN), ..., inode.
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == "0A" and int(columns[1].rsplit(":", 1)[1], 16) == port:
                    return columns[9]
    return None
