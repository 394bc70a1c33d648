"""A receiver of webhooks on loopback, by HTTP or HTTPS, that keeps what it gets and answers as configured."""

from __future__ import annotations

import json
import shutil
import ssl
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.certificates import Authority
from tests.support.process import PATIENCE_S, wait_until


@dataclass(frozen=True)
class Request:
    """One POST as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> str:
        """The kind of event."""
        return self.headers["X-Vpnkeys-Event"]

    @property
    def json(self) -> dict[str, Any]:
        """The body, parsed."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


class Receiver:
    """Listens on a port of its own as long as its context is entered.

    `answer` is asked for the status of each request; it may take its time, and a test's patience.
    """

    def __init__(self, *, tls: bool = False, port: int = 0, host: str = "127.0.0.1") -> None:
        """Describe it; `port` is where an earlier one was, or any."""
        self._directory = Path(tempfile.mkdtemp(prefix="vpnkeys-test-"))
        self.ca_file: Path | None = None
        self.requests: list[Request] = []
        self.answer: Callable[[Request], int] = lambda _request: 200
        self.headers: dict[str, str] = {}
        self._server = _Server((host, port), _handler(self))
        if tls:
            authority = Authority(self._directory)
            chain, key = authority.issue([host, "localhost"])
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(chain, key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.ca_file = authority.ca_file
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}/hook?a=b"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def wait_for(self, condition: Callable[[list[Request]], bool], timeout_s: float = PATIENCE_S) -> list[Request]:
        """What has come, as soon as it is as the condition says."""
        if not wait_until(lambda: condition(list(self.requests)), timeout_s):
            raise AssertionError(f"not in time; what came: {[(one.event, one.body) for one in self.requests]}")
        return list(self.requests)

    def wait_for_events(self, *events: str, timeout_s: float = PATIENCE_S) -> list[Request]:
        """What has come, as soon as it has these kinds of events, in this order, whatever else may be between them."""

        def has_all(requests: list[Request]) -> bool:
            came = iter([request.event for request in requests])
            return all(event in came for event in events)

        return self.wait_for(has_all, timeout_s)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self._directory, ignore_errors=True)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that close their connection in the middle."""


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Keep it, then answer."""
            length = int(self.headers["Content-Length"])
            request = Request(self.path, dict(self.headers), self.rfile.read(length))
            status = receiver.answer(request)
            receiver.requests.append(request)
            self.send_response(status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    return Handler
