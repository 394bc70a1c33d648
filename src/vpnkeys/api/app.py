"""Builds the HTTP application of a server."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio.to_thread
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.types import ASGIApp

from vpnkeys import __version__
from vpnkeys.api import errors
from vpnkeys.api.auth.access import AccessControl
from vpnkeys.api.auth.rate_limits import RateLimits
from vpnkeys.api.auth.sessions import Sessions
from vpnkeys.api.auth.shares import Shares
from vpnkeys.api.bodylimit import BodyLimit
from vpnkeys.api.cors import CrossOrigin
from vpnkeys.api.counts import Metrics
from vpnkeys.api.feed import Feed
from vpnkeys.api.fresh import FreshReads
from vpnkeys.api.head import HeadRequests
from vpnkeys.api.headers import SingleHeaders
from vpnkeys.api.pages import docs, sub, ui
from vpnkeys.api.prefix import BelowPrefix
from vpnkeys.api.rendered import RenderedKeys
from vpnkeys.api.routes import (
    agents,
    audit,
    backups,
    doors,
    info,
    keys,
    live,
    metrics,
    nodes,
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
from vpnkeys.api.routing import Dispatcher
from vpnkeys.api.services import Services
from vpnkeys.domain.reached import prefix_of
from vpnkeys.server.ending import CancelledRequests
from vpnkeys.server.news import News
from vpnkeys.server.pools import Batches, Pool, SharedCall
from vpnkeys.server.requests import AccessLog

_FILE_THREADS = 4
_REPORTS_AT_ONCE = 50
"""Reports of agents in one commit at most: others wait for its end."""
_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}

# In order: the first route that matches is taken, and the last one of `ui` takes any name below /ui/.
_PARTS = (
    docs,
    info,
    keys,
    selftest,
    qr,
    traffic,
    overview,
    system,
    plans,
    nodes,
    doors,
    agents,
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
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, Callable[[], None]]]:
    # In the lifespan, because the limiter belongs to the event loop, which has not begun before.
    # Only files are read by these threads; handlers have their own (`server/pools.py`).
    anyio.to_thread.current_default_thread_limiter().total_tokens = _FILE_THREADS

    def end_waiting() -> None:
        app.state.feed.end()
        app.state.news.end()

    yield {"on_ending": end_waiting}


def create_app(services: Services) -> ASGIApp:
    """Return the application that serves these services, which have been started.

    From the outside in, a request gets its id and its line in the log; its headers and size are checked; then its
    route is found, which checks the caller and calls the handler.
    """
    app = docs.DescribedApi(
        title="VPN Key Management API",
        version="2.3.4",
        summary="Keys for VLESS + REALITY + Vision, each on a port of its own",
        description=f"vpnkeys {__version__}",
        lifespan=_lifespan,
        # Programs and the page that describes the API find it where the public does.
        servers=[{"url": services.public_url}] if services.public_url else None,
        # FastAPI's own pages load Swagger UI from another server; `pages/docs.py` serves it from this package.
        docs_url=None,
        redoc_url=None,
        # Starlette's redirects name the host of the request, which anybody can choose; see `api/redirects.py`.
        redirect_slashes=False,
        # Else FastAPI looks, for each request, whether anybody wants traces; `/metrics` and the log say what there is.
        telemetry=_NO_TELEMETRY,
    )
    app.state.services = services
    app.state.access_control = AccessControl(services.tokens, Sessions(), RateLimits(services.rate_limits), Shares())
    app.state.metrics = Metrics(services.vitals, services.xray_version)
    app.state.rendered_keys = RenderedKeys(services.keys.list, services.traffic.usage)
    app.state.health = SharedCall(Pool.HEALTH, services.health.report)
    app.state.feed = Feed(live.Look(services, app.state.rendered_keys).now)
    app.state.news = News()
    app.state.reports = Batches(Pool.AGENTS, partial(agents.receive_all, services.fleet), _REPORTS_AT_ONCE)
    services.fleet.board.on_news = app.state.news.tell
    # Not by `include_router`, which looks for a request's route twice, through several layers of its own.
    app.router.routes.extend(route for part in _PARTS for route in part.router.routes)
    errors.install(app)
    served: ASGIApp = Dispatcher(app)
    if services.look is not None:
        served = FreshReads(served, services.look)
    if prefix := prefix_of(services.public_url):
        served = BelowPrefix(served, prefix)
    checked = SingleHeaders(BodyLimit(served))
    open_to = CrossOrigin(checked, services.cors_origins) if services.cors_origins else checked
    return AccessLog(CancelledRequests(HeadRequests(open_to)), app.state.metrics.count)
