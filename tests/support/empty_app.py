"""A handler that does nothing, served by uvicorn as the API is: the floor of everything that is asked over HTTPS."""

from __future__ import annotations

import asyncio
import json
import sys

import uvicorn
from starlette.types import Receive, Scope, Send

from tests.support.process import ModuleServer, announce_ready

BODY = b'{"status":"running"}'
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


async def _serve(options: dict[str, str]) -> None:
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=options["host"],
            port=int(options["port"]),
            ssl_certfile=options["cert"],
            ssl_keyfile=options["key"],
            loop="uvloop",
            http="httptools",
            ws="none",
            access_log=False,
            log_level="error",
            lifespan="off",
        )
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)
    announce_ready(server.servers[0].sockets[0])
    await serving


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.argv[1])))
