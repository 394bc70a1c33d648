"""`/api/events`: what changes, told while it changes, as server-sent events.

The format is that of the HTML standard, "Server-sent events": `event:` and `data:` lines, and an empty line after each.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import orjson
from anyio import to_thread
from fastapi import APIRouter
from starlette.responses import StreamingResponse

from vpnkeys.api.convert.keys import key_answer
from vpnkeys.api.deps import IdentityDep, ServerDep, reading
from vpnkeys.api.problems import problems
from vpnkeys.api.routes.info import health_now
from vpnkeys.api.routes.overview import traffic_of_all
from vpnkeys.bootstrap import Server
from vpnkeys.domain.errors import Unavailable, XrayUnavailable
from vpnkeys.service.tokens import Identity

router = APIRouter(tags=["events"], dependencies=[reading], responses=problems(401, 429, 500, 503))

_TICK_S = 1.0
_TRAFFIC_EVERY_TICKS = 2
_HEALTH_FIELDS_THAT_MOVE = {"timestamp", "uptime_seconds"}


class EventStream(StreamingResponse):
    """An answer that goes on until one of both sides ends it."""

    media_type = "text/event-stream"


@router.get("/api/events", response_class=EventStream)
async def get_events(server: ServerDep, who: IdentityDep) -> EventStream:
    """What changes, while it changes.

    `keys`: as GET /api/keys, at first and after every change. `traffic`: as GET /api/traffic, every two seconds.
    `health`: as GET /health, at first and when it changes.
    """
    return EventStream(_events(server, who), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


async def _events(server: Server, who: Identity) -> AsyncIterator[bytes]:
    """Events, until the token is not valid any more. Nothing is told twice but traffic, as a sign of life."""
    told: dict[str, object] = {}
    tick = 0
    while server.tokens.renew(who) is not None:
        for name, data, essence in await to_thread.run_sync(_look, server, tick % _TRAFFIC_EVERY_TICKS == 0):
            if told.get(name) != essence:
                told[name] = essence
                yield b"event: %s\ndata: %s\n\n" % (name.encode(), data)
        tick += 1
        await asyncio.sleep(_TICK_S)


def _look(server: Server, with_traffic: bool) -> list[tuple[str, bytes, object]]:
    """What is: name, data, and what of it is news when it differs."""
    health = health_now(server)
    found: list[tuple[str, bytes, object]] = [
        ("health", health.model_dump_json().encode(), health.model_dump(exclude=_HEALTH_FIELDS_THAT_MOVE))
    ]
    with suppress(Unavailable):  # /health has said so
        keys = orjson.dumps([key_answer(key).model_dump(mode="json") for key in server.keys.list()])
        found.append(("keys", keys, keys))
        if with_traffic:
            with suppress(XrayUnavailable):
                server.traffic.collect()
            traffic = traffic_of_all(server).model_dump_json().encode()
            found.append(("traffic", traffic, traffic))
    return found
