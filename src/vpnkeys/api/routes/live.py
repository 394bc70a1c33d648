"""Serves `/api/events`: streams changes as they happen, as server-sent events.

The format is that of the HTML standard, "Server-sent events": `event:` and `data:` lines, and an empty line after each.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import NamedTuple

from starlette.responses import StreamingResponse

from vpnkeys.api.auth.access import requires
from vpnkeys.api.convert.health import health_answer
from vpnkeys.api.convert.traffic import traffic_of_all
from vpnkeys.api.deps import FeedDep, IdentityDep, TokensDep
from vpnkeys.api.feed import Feed, Found
from vpnkeys.api.problems import problems
from vpnkeys.api.rendered import RenderedKeys
from vpnkeys.api.routing import ApiRouter
from vpnkeys.api.services import Services
from vpnkeys.domain.errors import Unavailable, XrayUnavailable
from vpnkeys.domain.token import Scope
from vpnkeys.service.tokens import Identity, TokenService

router = ApiRouter(tags=["events"], responses=problems(401, 429, 500, 503))

_TRAFFIC_EVERY_LOOKS = 2
_HEALTH_FIELDS_THAT_MOVE = {"timestamp", "uptime_seconds"}


class EventStream(StreamingResponse):
    """Is an answer that goes on until the caller or the server ends it."""

    media_type = "text/event-stream"


@router.get("/api/events", response_class=EventStream)
@requires(Scope.READ, at_once=20)
async def get_events(feed: FeedDep, tokens: TokensDep, who: IdentityDep) -> EventStream:
    """Stream changes as they happen; 20 streams for each token.

    `keys`: as GET /api/keys, at first and after every change. `traffic`: as GET /api/traffic, every two seconds.
    `health`: as GET /health, at first and when it changes.
    """
    # X-Accel-Buffering: nginx would hold events back until its buffer is full.
    return EventStream(_events(feed, tokens, who), headers={"X-Accel-Buffering": "no"})


async def _events(feed: Feed, tokens: TokenService, who: Identity) -> AsyncIterator[bytes]:
    """Yield events until the caller's token is no longer valid, or the server ends.

    Traffic is sent also when nothing changed, as it has a timestamp: clients see that the stream is alive.
    """
    sent: dict[str, int] = {}
    with feed.joined():
        latest = await feed.latest(after_next=False)
        while not feed.has_ended and tokens.renew(who) is not None:
            for name, event in latest.items():
                if sent.get(name) != event.number:
                    sent[name] = event.number
                    yield event.chunk
            latest = await feed.latest(after_next=True)


class Look(NamedTuple):
    """Reads everything that the streams report."""

    services: Services
    rendered: RenderedKeys

    def now(self, number: int) -> Iterator[Found]:
        """Yield what is so now; the traffic in every second look."""
        health = health_answer(self.services.health.report())
        yield Found("health", health.model_dump_json().encode(), health.model_dump(exclude=_HEALTH_FIELDS_THAT_MOVE))
        with suppress(Unavailable):  # the health event reports the database already
            # Sent when a key changes, and not with each byte that is used: that is what `traffic` is for.
            keys = self.services.keys.list()
            yield Found("keys", self.rendered.all(), keys)
            if number % _TRAFFIC_EVERY_LOOKS == 0:
                yield self._traffic()

    def _traffic(self) -> Found:
        with suppress(XrayUnavailable):
            self.services.traffic.collect()
        traffic = traffic_of_all(self.services.keys.list(), self.services.traffic).model_dump_json().encode()
        return Found("traffic", traffic, traffic)
