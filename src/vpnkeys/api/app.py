"""The HTTP application of a server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI
from starlette.types import ASGIApp

from vpnkeys import __version__
from vpnkeys.api import errors
from vpnkeys.api.auth.rate_limits import ExtraHeaders, Limits
from vpnkeys.api.auth.sessions import Sessions
from vpnkeys.api.bodylimit import BodyLimit
from vpnkeys.api.counts import Metrics
from vpnkeys.api.pages import docs, sub, ui
from vpnkeys.api.reads import KeptReads
from vpnkeys.api.routes import (
    audit,
    backups,
    info,
    keys,
    live,
    metrics,
    overview,
    plans,
    qr,
    selftest,
    signin,
    subscriptions,
    system,
    tokens,
    traffic,
    webhooks,
)
from vpnkeys.api.together import Together
from vpnkeys.bootstrap import Server
from vpnkeys.server.requests import Requests

_THREADS = 4
"""Handlers that wait for disk or Xray run in threads; more of them only fight for the interpreter's lock (measured)."""


_ROOMS = (
    docs,
    info,
    keys,
    selftest,
    qr,
    traffic,
    overview,
    system,
    plans,
    tokens,
    subscriptions,
    sub,
    webhooks,
    audit,
    backups,
    live,
    metrics,
    signin,
    ui,
)


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
    yield


def create_app(server: Server) -> ASGIApp:
    """The application that serves this server, which has been started."""
    app = docs.DescribedApi(
        title="VPN Key Management API",
        version="2.3.4",
        summary="Keys for VLESS + REALITY + Vision, each on a port of its own",
        description=f"vpnkeys {__version__}",
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.server = server
    app.state.sessions = Sessions()
    app.state.limits = Limits(server.settings.rate_limits)
    app.state.sampled = Together(server.traffic.of)
    app.state.metrics = Metrics(server.monitor.look, server.xray_version)
    app.add_middleware(BodyLimit)
    app.add_middleware(ExtraHeaders)
    for room in _ROOMS:
        app.include_router(room.router)
    errors.install(app)
    return Requests(KeptReads(app, server, app.state.limits), app.state.metrics.count)
