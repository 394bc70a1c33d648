"""The HTTP application of a server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI

from vpnkeys import __version__
from vpnkeys.api import audit, docs, errors, info, keys, system, tokens, traffic
from vpnkeys.api.bodylimit import BodyLimit
from vpnkeys.api.limits import ExtraHeaders, Limits
from vpnkeys.api.sessions import Sessions
from vpnkeys.bootstrap import Server

_THREADS = 4
"""Handlers that wait for disk or Xray run in threads; more of them only fight for the interpreter's lock (measured)."""


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
    yield


def create_app(server: Server) -> FastAPI:
    """The application that serves this server."""
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
    app.add_middleware(BodyLimit)
    app.add_middleware(ExtraHeaders)
    app.include_router(docs.router)
    app.include_router(info.router)
    app.include_router(keys.router)
    app.include_router(traffic.router)
    app.include_router(system.router)
    app.include_router(tokens.router)
    app.include_router(audit.router)
    errors.install(app)
    return app
