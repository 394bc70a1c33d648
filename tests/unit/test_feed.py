"""Streams of events share one look a second, and no identity takes the streams or the threads of others."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp, Message
from tests.fake_store import FakeStore
from tests.fakes import FakeClock
from tests.unit.test_routing import API_KEY, KEYS

from vpnkeys.api.app import create_app
from vpnkeys.api.feed import Feed, Found
from vpnkeys.api.services import Services
from vpnkeys.domain.token import Scope
from vpnkeys.server import ending, pools
from vpnkeys.service.health.health import HealthReport
from vpnkeys.service.limits.usage import UsageBoard
from vpnkeys.service.tokens import TokenService

HEALTHY = HealthReport("healthy", (), "running", "ok", "available", "available", 2, 1)
STREAMS, SLOW = 20, 8
PATIENCE_S = 20


@dataclass(slots=True)
class Server:
    """An application whose plans, and some deletions, take until they are let go, and whose looks are counted."""

    looks: int = 0
    let_go: threading.Event = field(default_factory=threading.Event)
    plans: int = 0
    waiting: int = 0
    reports_wait: bool = False
    tokens: TokenService = field(
        default_factory=lambda: TokenService(FakeStore(), FakeClock(), lambda text: text == API_KEY)
    )
    app: ASGIApp = field(init=False)

    def __post_init__(self) -> None:
        """With two keys."""
        services = dict.fromkeys(Services.__dataclass_fields__, cast("Any", None))
        services["keys"] = SimpleNamespace(list=lambda: KEYS, delete=self._delete)
        services["tokens"] = self.tokens
        services["health"] = SimpleNamespace(report=self._report)
        board = UsageBoard(lambda since, _fresh: dict.fromkeys(since, 0), FakeClock())
        services["traffic"] = SimpleNamespace(collect=bool, totals=dict, online_by_key=lambda _keys: {}, usage=board)
        services["reporter"] = SimpleNamespace(plan=self._plan)
        services["fleet"] = SimpleNamespace(board=SimpleNamespace(), nodes=SimpleNamespace(asked=lambda _node: ()))
        self.app = create_app(Services(**{**services, "rate_limits": {}}))

    def token(self) -> str:
        """A new token with the smallest scope."""
        return self.tokens.create("reader", Scope.READ)[1]

    def _report(self) -> HealthReport:
        self.looks += 1
        if self.reports_wait:
            self.let_go.wait(PATIENCE_S)
        return HEALTHY

    def _delete(self, key_id: str) -> None:
        if key_id == "waits":
            self.waiting += 1
            self.let_go.wait(PATIENCE_S)

    def _plan(self) -> object:
        self.plans += 1
        self.let_go.wait(PATIENCE_S)
        raise RuntimeError  # a plan is not what this is about


@dataclass(slots=True)
class Stream:
    """One request for events, and what came of it."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, app: ASGIApp, token: str) -> None:
        """Receive until the end."""
        headers = [(b"x-api-key", token.encode())]
        scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/api/events", "raw_path": b"/api/events"}
        scope |= {"query_string": b"", "root_path": "", "headers": headers, "client": None, "state": {}}
        begun = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Message:
            for message in begun:
                return message
            await self.ended.wait()
            return {"type": "http.disconnect"}

        await app(scope, receive, self._send)

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.events += [line[7:].decode() for line in message["body"].split(b"\n") if line.startswith(b"event: ")]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0.005)


@asynccontextmanager
async def streaming(server: Server, *tokens: str) -> AsyncIterator[list[Stream]]:
    """A stream for each of these tokens."""
    streams = [Stream() for _ in tokens]
    pairs = zip(streams, tokens, strict=True)
    tasks = [asyncio.create_task(stream.ask(server.app, token)) for stream, token in pairs]
    try:
        await until(lambda: all(stream.status for stream in streams))
        yield streams
    finally:
        for stream in streams:
            stream.ended.set()
        await asyncio.gather(*tasks)


def test_all_streams_share_one_look_a_second() -> None:
    """However many there are, each gets all events; and nothing is read when there is none."""
    server = Server()

    async def run() -> None:
        async with streaming(server, *[server.token()] * STREAMS, *[server.token()] * STREAMS) as streams:
            await until(lambda: all(stream.events.count("traffic") > 1 for stream in streams))
            assert server.looks <= 4
            assert {(*stream.events[:3],) for stream in streams} == {("health", "keys", "traffic")}
            assert all(stream.events.count("keys") == 1 for stream in streams)  # nothing has changed
        looks = server.looks
        await asyncio.sleep(1.5)
        assert server.looks <= looks + 1

    asyncio.run(run())


def test_one_token_does_not_take_the_streams_of_others() -> None:
    """It has twenty; one more is 429, until one of them ends."""
    server = Server()
    greedy, other = server.token(), server.token()

    async def run() -> None:
        async with streaming(server, *[greedy] * STREAMS) as streams:
            async with streaming(server, greedy, other, API_KEY) as more:
                assert [stream.status for stream in (*streams, *more)] == [200] * STREAMS + [429, 200, 200]
                assert int(more[0].headers["retry-after"]) > 0
            streams[0].ended.set()

            async def again() -> int:
                async with streaming(server, greedy) as (stream,):
                    return stream.status

            async with asyncio.timeout(PATIENCE_S):
                while await again() != 200:  # noqa: ASYNC110 - likewise
                    await asyncio.sleep(0.01)

    asyncio.run(run())


def test_slow_work_does_not_hold_up_quick_work() -> None:
    """While all threads for slow work wait, a token is made, health answers, and a stream begins."""
    server = Server()
    greedy = server.token()

    async def run() -> None:
        transport = httpx.ASGITransport(server.app)
        async with httpx.AsyncClient(transport=transport, base_url="https://test", timeout=None) as client:  # noqa: S113

            async def ask(method: str, path: str, token: str, body: object = None) -> int:
                answer = await client.request(method, path, headers={"X-API-Key": token}, json=body)
                return answer.status_code

            slow = [asyncio.create_task(ask("GET", "/api/system/plan", greedy)) for _ in range(SLOW)]
            try:
                await until(lambda: server.plans == 2)
                slow.append(asyncio.create_task(ask("GET", "/api/system/plan", API_KEY)))
                await until(lambda: server.plans == 3)
                async with asyncio.timeout(PATIENCE_S / 4):
                    assert await ask("POST", "/api/tokens", API_KEY, {"name": "x", "scope": "read"}) == 200
                    assert await ask("GET", "/health", "") == 200
                    async with streaming(server, greedy) as (stream,):
                        await until(lambda: "traffic" in stream.events)
            finally:
                server.let_go.set()
            assert await asyncio.gather(*slow) == [500] * (SLOW + 1)

    asyncio.run(run())


def test_one_token_does_not_take_the_threads_of_others() -> None:
    """It sends fifty requests that wait; another one's is answered, and nothing is left over in the end."""
    server = Server()
    greedy, other = (server.tokens.create("bot", Scope.KEYS)[1] for _ in range(2))

    async def run() -> None:
        transport = httpx.ASGITransport(server.app)
        async with httpx.AsyncClient(transport=transport, base_url="https://test", timeout=None) as client:  # noqa: S113

            async def delete(key_id: str, token: str) -> int:
                return (await client.delete(f"/api/keys/{key_id}", headers={"X-API-Key": token})).status_code

            waiting = [asyncio.create_task(delete("waits", greedy)) for _ in range(50)]
            try:
                await until(lambda: server.waiting == 3)
                async with asyncio.timeout(PATIENCE_S / 4):
                    assert [await delete("quick", token) for token in (other, API_KEY)] == [200, 200]
                assert server.waiting == 3
            finally:
                server.let_go.set()
            assert await asyncio.gather(*waiting) == [200] * 50
            assert not pools._threads.get().turns

    asyncio.run(run())


def test_who_asks_for_health_at_once_shares_a_report() -> None:
    """However many strangers ask; each gets a report that was begun after it asked."""
    server = Server()
    server.reports_wait = True

    async def run() -> None:
        transport = httpx.ASGITransport(server.app)
        async with httpx.AsyncClient(transport=transport, base_url="https://test", timeout=None) as client:  # noqa: S113
            first = asyncio.create_task(client.get("/health"))
            await until(lambda: server.looks == 1)
            others = [asyncio.create_task(client.get("/health")) for _ in range(100)]
            await asyncio.sleep(0.2)
            server.let_go.set()
            answers = await asyncio.gather(first, *others)
        assert {answer.status_code for answer in answers} == {200}
        assert server.looks == 2

    asyncio.run(run())


def test_streams_end_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """By themselves, whatever time an answer has that has begun, and whole: with the last chunk of HTTP."""
    monkeypatch.setattr(ending, "_STREAM_S", 3600.0)

    async def serve() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = ending.EndingServer(uvicorn.Config(Server().app, http="httptools", log_config=None))
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/events"
            headers = {"X-API-Key": API_KEY}
            async with (
                httpx.AsyncClient(trust_env=False) as client,
                client.stream("GET", url, headers=headers) as events,
            ):
                seen = events.aiter_bytes()
                assert await anext(seen)
                server.should_exit = True
                async for _ in seen:
                    pass
            await serving

    asyncio.run(asyncio.wait_for(serve(), PATIENCE_S))


def test_a_look_that_fails_ends_no_stream(caplog: pytest.LogCaptureFixture) -> None:
    """It is told once, and the next one is reported."""
    looks: list[int] = []

    def look(number: int) -> Iterable[Found]:
        looks.append(number)
        if number < 3:
            raise RuntimeError
        yield Found("health", b"{}", number)

    async def run() -> list[int]:
        feed = Feed(look, tick_s=0.01)
        numbers = []
        with feed.joined():
            for _ in range(6):
                latest = await feed.latest(after_next=True)
                numbers += [event.number for event in latest.values()]
        return numbers

    assert asyncio.run(run()) == [1, 2, 3]
    assert looks[:6] == [*range(6)]
    assert len(caplog.records) == 1


def test_a_stream_that_begins_gets_what_is_known() -> None:
    """Without a look of its own; one that begins after all others have ended gets nothing old."""
    values: Iterator[bytes] = iter([b"old", *[b"new"] * 1000])

    def look(_number: int) -> Iterable[Found]:
        data = next(values)
        yield Found("keys", data, data)

    async def run() -> None:
        feed = Feed(look, tick_s=0.05)
        with feed.joined():
            first = await feed.latest(after_next=False)
            with feed.joined():
                assert await feed.latest(after_next=False) is first
        await until(lambda: feed._looking is None)
        with feed.joined():
            (event,) = (await feed.latest(after_next=False)).values()
        assert event.chunk == b"event: keys\ndata: new\n\n"

    asyncio.run(run())
