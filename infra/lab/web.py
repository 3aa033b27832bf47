"""The lab's two HTTPS services, enrolment and image host, in one event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from sealwave.infra.lab.ports import LOOPBACK, require_free
from sealwave.signing.tls import server_context

__all__ = ["Service", "WebServices"]

# Seconds that open transfers have when the services end.
END_LIMIT = 2.0
# Seconds for a client's handshake.
HANDSHAKE_LIMIT = 10.0
# Seconds that a closed connection waits for the client's own goodbye.
SETTLE = 0.2


@dataclass(frozen=True)
class Service:
    """One application with its port and certificate."""

    name: str
    application: web.Application
    port: int
    certificate: Path
    key: Path


class WebServices:
    """Start with `start`, end with `stop`; both may be called from any thread."""

    def __init__(self, *services: Service) -> None:
        self._services = services
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._runners: list[web.AppRunner] = []
        self._servers: list[asyncio.Server] = []

    def start(self) -> None:
        """Listen; raises PortInUse, or CertificateUnusable for a spoiled certificate."""
        for service in self._services:
            require_free(service.port, service.name)
        loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=loop.run_forever, name="lab-web", daemon=True)
        self._loop = loop
        self._thread.start()
        try:
            for service in self._services:
                self._run(self._listen(service))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End both services and their thread; nothing happens when they do not run."""
        if self._loop is None or self._thread is None:
            return
        for server in self._servers:
            self._loop.call_soon_threadsafe(server.close)
        for runner in self._runners:
            self._run(runner.cleanup())
        # The loop closes TLS connections step by step: without these steps their sockets would be left open.
        self._run(asyncio.sleep(2 * SETTLE))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = None
        self._runners.clear()
        self._servers.clear()

    async def _listen(self, service: Service) -> None:
        runner = web.AppRunner(service.application, access_log=None, shutdown_timeout=END_LIMIT)
        self._runners.append(runner)
        await runner.setup()
        context = server_context(service.certificate, service.key, client_authority=None)
        assert self._loop is not None and runner.server is not None
        server = await self._loop.create_server(
            runner.server,
            LOOPBACK,
            service.port,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_LIMIT,
            ssl_shutdown_timeout=SETTLE,
        )
        self._servers.append(server)

    def _run(self, coroutine: Any) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
