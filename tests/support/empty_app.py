"""A server like the service's, with a handler that does nothing: the floor of everything that is asked over HTTPS.

Its event loop, HTTP parser, certificate and listener are the service's; what the service does with a connection and a
request is not there.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys

import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from tests.support.process import ModuleServer, announce_ready

BODY = b'{"status":"running"}'
_BACKLOG = 2048
_RECEIVE_BUFFER_BYTES = 32 * 1024
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The same answer to everything."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": BODY})


class EmptyApp(ModuleServer):
    """The handler in its own process, with a given certificate."""

    def __init__(self, cert: str, key: str) -> None:
        """Note the certificate (PEM paths)."""
        super().__init__(__name__, {"host": "127.0.0.1", "port": 0, "cert": cert, "key": key})


def _listen(host: str, port: int) -> socket.socket:
    """Return a listener with the service's settings, which its connections have from it."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind((host, port))
    listener.listen(_BACKLOG)
    return listener


async def _serve(config: uvicorn.Config, listener: socket.socket) -> None:
    # uvicorn's own `loop` setting has no effect on a loop that runs already.
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
    config.load()
    assert config.ssl is not None
    config.ssl.options |= ssl.OP_NO_RENEGOTIATION
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)
    announce_ready(listener)
    await serving


def main(options: dict[str, str]) -> None:
    """Serve until asked to end."""
    config = uvicorn.Config(
        app,
        timeout_keep_alive=75,  # a measurement may ask it seldom
        ssl_certfile=options["cert"],
        ssl_keyfile=options["key"],
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="error",
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, _listen(options["host"], int(options["port"]))))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
