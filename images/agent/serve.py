"""`serve`: enrol if needed, then answer the machine API until the service manager says stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from datetime import timedelta

from sealwave.images.agent import layout
from sealwave.images.agent.config import MachineConfig
from sealwave.images.agent.enrol import Identity, enrol, renewal_due
from sealwave.images.agent.fetch import HttpsSource
from sealwave.images.agent.linux import LinuxPlatform
from sealwave.images.agent.prepare import load_config
from sealwave.images.agent.server import open_site
from sealwave.images.agent.service import Agent
from sealwave.signing.tls import server_context

__all__ = ["serve"]

_log = logging.getLogger(__name__)


def serve() -> None:
    """Run until SIGTERM, or until the machine's certificate is due for renewal.

    Raises AgentError, SigningError or OSError when it cannot.
    """
    config, platform = load_config(), LinuxPlatform()
    identity = Identity.under(platform.data)
    # A failed enrolment ends the process: the service manager's restarts are the one retry loop.
    if enrol(config, identity, authority=layout.RUN / "enrolment-ca.pem", now=platform.now()):
        _log.info("this machine is enrolled as %s", config.machine)
    agent = Agent(
        platform,
        machine=config.machine,
        window=config.commit_window_seconds,
        open_source=lambda base: HttpsSource(base, authority=layout.RUN / "images-ca.pem"),
    )
    agent.start()
    until_renewal = renewal_due(identity, now=platform.now())
    asyncio.run(_serve(agent, config, identity, until_renewal=until_renewal))


async def _serve(agent: Agent, config: MachineConfig, identity: Identity, *, until_renewal: timedelta) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    context = server_context(identity.certificate, identity.key, client_authority=config.client_ca.encode())
    runner = await open_site(agent, context=context, host=None, port=config.port)
    _log.info("the machine API answers on port %d", config.port)
    _notify("READY=1")
    try:
        # The service manager starts this again, and with the start comes the renewal.
        await asyncio.wait_for(stop.wait(), until_renewal.total_seconds())
    except TimeoutError:
        _log.info("the machine's certificate is to be renewed")
    _notify("STOPPING=1")
    await runner.cleanup()
    await asyncio.to_thread(agent.stop)


def _notify(state: str) -> None:
    """Tell the service manager (sd_notify(3)); nothing happens when there is none."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        # A leading @ stands for the zero byte of an abstract address.
        channel.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
