"""The end of the server: what is begun no more, what is taken back, and what a cancelled request is answered."""

import asyncio
import logging
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from tests.support.certificates import Authority
from tests.support.memory import World
from tests.support.process import PATIENCE_S

from vpnkeys.domain.actor import SERVER, Actor, set_actor
from vpnkeys.domain.errors import ServerEnding
from vpnkeys.domain.limits import Limits, Status
from vpnkeys.server import ending
from vpnkeys.server.ending import CancelledRequests, EndingServer


@pytest.fixture
def world() -> Iterator[World]:
    """A server with the time of ending in the test's hand, asked by a bot."""
    world = World()
    world.keys.changer.ending.clock = world.waiting.now
    set_actor(Actor("bot", "192.0.2.1"))
    yield world
    set_actor(SERVER)


def test_no_change_begins(world: World) -> None:
    """Neither a start nor a stop: nothing is changed by it; limits strike on."""
    key = world.make(Limits(traffic_bytes=100))
    world.keys.changer.ending.begin()
    assert world.make_fails(ServerEnding) == ()
    with pytest.raises(ServerEnding):
        world.keys.delete(key.id)
    assert world.keys.list() == (key,)
    world.node.carry(world.customer(key), 0, 100)
    set_actor(SERVER)
    world.quotas.look()
    assert world.status(key) is Status.LIMITED


@pytest.mark.parametrize(("after_s", "is_made"), [(5.9, True), (6.0, False)])
def test_a_start_under_way_is_finished_or_taken_back(
    world: World, monkeypatch: pytest.MonkeyPatch, after_s: float, is_made: bool
) -> None:
    """In time its answer is what the database says; too late nothing of it is left."""
    apply = world.node.apply

    def slow(_: object, plan: object) -> None:
        world.keys.changer.ending.begin()
        world.waiting.time += after_s
        apply(plan)  # type: ignore[arg-type]

    with monkeypatch.context() as slowly:
        slowly.setattr(type(world.node), "apply", slow)
        made = world.make_fails(ServerEnding) if not is_made else (world.make(),)
    assert world.keys.list() == (made if is_made else ())
    assert world.store.intents() == ()
    world.keys.reconciler.reconcile()
    assert len(world.node.running or {}) == len(world.keys.list()) + 1


TLS_WAITS_S = 30.0
"""How long asyncio waits for a client's own close_notify."""


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers never."""
    if scope["type"] == "http":
        await asyncio.sleep(3600)


async def _answers_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


def _ask_once(address: tuple[str, int], has_answer: threading.Event) -> bytes:
    """Get one answer over TLS, and do nothing more until the server has hung up; return what it sent after that."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(socket.create_connection(address, timeout=PATIENCE_S)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        while b"\r\n\r\n" not in client.recv(4096):
            pass
        has_answer.set()
        waits = select.poll()
        waits.register(client, select.POLLRDHUP)
        assert waits.poll(TLS_WAITS_S * 1000 / 3)
        return client.recv(4096)


def test_an_idle_client_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It does not answer TLS's close_notify, for which a client has time only after an answer of the end."""
    monkeypatch.setattr(ending, "_LINGER_S", 3600.0)
    certificate, key = Authority(tmp_path).issue(["localhost"])

    async def serve() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            config = uvicorn.Config(
                _answers_at_once,
                lifespan="off",
                http="httptools",
                log_config=None,
                ssl_certfile=str(certificate),
                ssl_keyfile=str(key),
            )
            server, has_answer = EndingServer(config), threading.Event()
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            asking = asyncio.create_task(asyncio.to_thread(_ask_once, listener.getsockname(), has_answer))
            await asyncio.to_thread(has_answer.wait, PATIENCE_S)
            server.should_exit = True
            await serving
            assert await asking == b""

    asyncio.run(asyncio.wait_for(serve(), PATIENCE_S))


def test_a_request_without_an_end_is_answered(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """503 when its time is over, without a line of an error."""
    monkeypatch.setattr(ending, "GRACE_S", 0.2)
    asked: list[str] = []

    async def serve() -> httpx.Response:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            config = uvicorn.Config(CancelledRequests(_app), lifespan="off", http="httptools", log_config=None)
            server = EndingServer(config, lambda: asked.append("end"))
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            async with httpx.AsyncClient(trust_env=False) as client:
                url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
                answer = asyncio.create_task(client.get(url, timeout=30.0))
                while not server.server_state.tasks:  # noqa: ASYNC110 - uvicorn has no event for it
                    await asyncio.sleep(0.01)
                server.should_exit = True
                found = await answer
            await serving
            return found

    with caplog.at_level(logging.ERROR):
        answer = asyncio.run(serve())
    assert (answer.status_code, answer.json()["code"]) == (503, "server_ending")
    assert int(answer.headers["retry-after"]) > 0
    assert asked == ["end"]
    assert caplog.records == []
