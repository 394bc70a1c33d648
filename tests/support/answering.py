"""A server that gives any answers, and the commands that ask it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from typer.testing import CliRunner, Result

from vpnkeys.cli.main import build_app

API_KEY = "k" * 20


@dataclass
class Answering:
    """Where it is, what it answers by path, what it answers elsewhere, with status 400, and what was asked."""

    answers: Mapping[str, object]
    refusal: object
    url: str = ""
    asked: list[str] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str | None]:
        """How a command finds it."""
        return {"VPNKEYS_URL": self.url, "VPNKEYS_API_KEY": API_KEY, "VPNKEYS_CA": None, "VPNKEYS_FINGERPRINT": None}

    def run(self, line: str, *more: str, typed: str | None = None, **env: str) -> Result:
        """A command that asks it, in this process."""
        arguments = [*line.split(), *more]
        return CliRunner().invoke(build_app(arguments[:1]), arguments, input=typed, env={**self.env, **env})


class _Handler(BaseHTTPRequestHandler):
    """Answers as it was told to, and errors elsewhere."""

    told: ClassVar[Answering]

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        self.told.asked.append(f"{self.command} {self.path}")
        is_known = path in self.told.answers
        body = self.told.answers.get(path, self.told.refusal)
        if path == "/api/events" and isinstance(body, list):
            content = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in body)
        else:
            content = body if isinstance(body, str) else json.dumps(body)
        raw = content.encode("utf-8", "replace")
        self.send_response(200 if is_known else 400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - the library's names

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's name
        """Nothing."""


@contextmanager
def answering(answers: Mapping[str, object], refusal: object = None) -> Iterator[Answering]:
    """Yield a server that gives these answers."""
    told = Answering(answers, refusal or {"code": "refused", "detail": "no"})
    handler = type("Handler", (_Handler,), {"told": told})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        told.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()
