"""The machine API over HTTP: TLS 1.3, client certificates, roles, bodies, problem documents. No decision is made here.

Rules:
1. Who calls is what the verified client certificate says; what the caller may do is what `openapi.yaml` says.
2. The role is looked at before the body is read.
3. Every answer that is no success is a problem document, and an error that was not foreseen says nothing of its inside.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from sealwave.images.agent.document import BODY_LIMIT, Endpoint, endpoints, load_document, parse_body
from sealwave.images.agent.errors import AgentError, Code, Problem, Refused
from sealwave.images.agent.service import Agent, Reply
from sealwave.signing.errors import SigningError
from sealwave.signing.tls import peer_identity

__all__ = ["make_app", "open_site"]

_log = logging.getLogger(__name__)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_KEY_LENGTHS = range(8, 129)


def make_app(agent: Agent) -> web.Application:
    """The application that serves every endpoint of the document, and nothing else."""
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[_as_problems])
    for endpoint in endpoints(load_document()):
        app.router.add_route(endpoint.method, endpoint.path, _handler(agent, endpoint))
    return app


async def open_site(
    agent: Agent, *, context: ssl.SSLContext, host: str | None, port: int, shutdown_timeout: float = 5.0
) -> web.AppRunner:
    """Serve until the runner is cleaned up; raises OSError when the port is in use."""
    runner = web.AppRunner(make_app(agent), access_log=None, shutdown_timeout=shutdown_timeout)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=context).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner


def _handler(agent: Agent, endpoint: Endpoint) -> _Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        _check_role(request, endpoint)
        body: dict[str, Any] = {}
        if endpoint.body is not None:
            body = parse_body(await request.read(), endpoint.body)
        key = request.headers.get("Idempotency-Key", "")
        if endpoint.needs_key and len(key) not in _KEY_LENGTHS:
            raise Refused(Code.BAD_REQUEST, "the call needs an Idempotency-Key of 8 to 128 characters")
        # The calls touch disks, firmware and processes: in the loop they would hold up every other caller.
        status, answer = await asyncio.to_thread(_call, agent, endpoint, body, key, dict(request.match_info))
        return web.json_response(answer, status=status)

    return handle


def _call(agent: Agent, endpoint: Endpoint, body: dict[str, Any], key: str, path: dict[str, str]) -> Reply:
    match endpoint.operation:
        case "getVersion":
            return agent.get_version()
        case "getStatus":
            return agent.get_status()
        case "getSlots":
            return agent.get_slots()
        case "getDrift":
            return agent.get_drift()
        case "getChecks":
            return agent.get_checks()
        case "getOperation":
            return agent.get_operation(path["id"])
        case "postFence":
            return agent.post_fence(body)
        case operation:
            return agent.change(operation, body, key=key)


def _check_role(request: web.Request, endpoint: Endpoint) -> None:
    peer = None if request.transport is None else request.transport.get_extra_info("peercert")
    try:
        name, roles = peer_identity(peer or {})
    except SigningError as error:
        raise Refused(Code.FORBIDDEN, str(error)) from error
    # One certificate, one role: two would make the table of who may do what hard to read.
    if len(roles) != 1 or not roles <= endpoint.roles:
        held = ", ".join(sorted(roles)) or "none"
        needed = " or ".join(sorted(endpoint.roles))
        raise Refused(Code.FORBIDDEN, f"{name} has the role {held}, and this call needs {needed}")


@web.middleware
async def _as_problems(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refusal:
        return _problem(refusal.problem)
    except web.HTTPException as error:
        missing = error.status in (404, 405)
        code = Code.NOT_FOUND if missing else Code.BAD_REQUEST
        detail = f"there is no {request.method} {request.path}" if missing else error.reason
        return _problem(Problem(code, f"{detail}; see openapi.yaml"))
    except AgentError as error:
        _log.error("%s %s: %s", request.method, request.path, error)
        return _problem(Problem(Code.INTERNAL, str(error)))
    except Exception:
        _log.exception("%s %s failed in a way that was not foreseen", request.method, request.path)
        return _problem(Problem(Code.INTERNAL, "the agent failed; its log on the console says more"))


def _problem(problem: Problem) -> web.Response:
    return web.json_response(problem.to_json(), status=problem.code.status, content_type="application/problem+json")
