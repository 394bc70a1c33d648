"""Serves `/api/events`: streams changes as they happen, as server-sent events.

The format is that of the HTML standard, "Server-sent events": `event:` and `data:` lines, and an empty line after each.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import NamedTuple

from anyio import to_thread
from starlette.responses import StreamingResponse

from vpnkeys.api.auth.access import requires
from vpnkeys.api.convert.health import health_answer
from vpnkeys.api.convert.traffic import traffic_of_all
from vpnkeys.api.deps import IdentityDep, RenderedKeysDep, ServicesDep
from vpnkeys.api.problems import problems
from vpnkeys.api.rendered import RenderedKeys
from vpnkeys.api.routing import ApiRouter
from vpnkeys.api.services import Services
from vpnkeys.domain.errors import Unavailable, XrayUnavailable
from vpnkeys.domain.token import Scope
from vpnkeys.service.tokens import Identity

router = ApiRouter(tags=["events"], responses=problems(401, 429, 500, 503))

_TICK_S = 1.0
_TRAFFIC_EVERY_TICKS = 2
_HEALTH_FIELDS_THAT_MOVE = {"timestamp", "uptime_seconds"}


class EventStream(StreamingResponse):
    """Is an answer that goes on until the caller or the server ends it."""

    media_type = "text/event-stream"


@router.get("/api/events", response_class=EventStream)
@requires(Scope.READ)
async def get_events(services: ServicesDep, rendered: RenderedKeysDep, who: IdentityDep) -> EventStream:
    """Stream changes as they happen.

    `keys`: as GET /api/keys, at first and after every change. `traffic`: as GET /api/traffic, every two seconds.
    `health`: as GET /health, at first and when it changes.
    """
    return EventStream(
        # X-Accel-Buffering: nginx would hold events back until its buffer is full.
        _events(_Look(services, rendered), who),
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _events(look: "_Look", who: Identity) -> AsyncIterator[bytes]:
    """Yield events until the caller's token is no longer valid.

    Traffic is sent also when nothing changed, as it has a timestamp: clients see that the stream is alive.
    """
    sent: dict[str, object] = {}
    tick = 0
    while look.services.tokens.renew(who) is not None:
        for name, data, compared in await to_thread.run_sync(look.now, tick % _TRAFFIC_EVERY_TICKS == 0):
            if sent.get(name) != compared:
                sent[name] = compared
                yield b"event: %s\ndata: %s\n\n" % (name.encode(), data)
        tick += 1
        await asyncio.sleep(_TICK_S)


class _Look(NamedTuple):
    """Reads everything that the stream reports."""

    services: Services
    rendered: RenderedKeys

    def now(self, with_traffic: bool) -> list[tuple[str, bytes, object]]:
        """Return each event's name, its data, and the part of the data whose change makes it worth sending."""
        health = health_answer(self.services.health.report())
        found: list[tuple[str, bytes, object]] = [
            ("health", health.model_dump_json().encode(), health.model_dump(exclude=_HEALTH_FIELDS_THAT_MOVE))
        ]
        with suppress(Unavailable):  # the health event reports the database already
            keys = self.rendered.all()
            found.append(("keys", keys, keys))
            if with_traffic:
                found.append(self._traffic())
        return found

    def _traffic(self) -> tuple[str, bytes, object]:
        with suppress(XrayUnavailable):
            self.services.traffic.collect()
        traffic = traffic_of_all(self.services.keys.list(), self.services.traffic).model_dump_json().encode()
        return "traffic", traffic, traffic
