"""Telegram's Bot API as a polling bot sees it, on loopback."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl

from tests.support.process import wait_until

_USER = 4711
_PERSON = {"is_bot": False, "first_name": "Somebody"}
_BOT = {"id": 123456, "is_bot": True, "first_name": "Bot", "username": "some_bot"}


class FakeTelegram:
    """What users write to a bot, and what it tells them."""

    token = "123456:made-up"

    def __init__(self) -> None:
        """Nobody has written yet."""
        self.told: list[dict[str, Any]] = []
        self.blocked_by: set[int] = set()
        self.failures = 0  # so many messages are not taken, and would be later
        self._updates: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        telegram = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                _, bot, method = self.path.split("/")
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                is_json = self.headers["Content-Type"] == "application/json"
                fields = json.loads(body) if is_json else dict(parse_qsl(body))
                assert bot == f"bot{telegram.token}"
                try:
                    status, said = 200, {"ok": True, "result": telegram.answer(method, fields)}
                except _Refusal as error:
                    status, said = error.status, {"ok": False, "error_code": error.status, "description": str(error)}
                answer = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def write(self, text: str, chat_type: str = "private", user: int = _USER) -> None:
        """A user writes something."""
        with self._changed:
            number = len(self._updates) + 1
            sent = _message(number, text, {"id": user, "type": chat_type}, {**_PERSON, "id": user})
            self._updates.append({"update_id": number, "message": sent})
            self._changed.notify_all()

    def answer(self, method: str, fields: dict[str, Any]) -> object:
        """What a method answers; getUpdates waits for news as long as it is asked to."""
        with self._changed:
            if method == "getMe":
                return _BOT
            if method == "sendMessage":
                chat = int(fields["chat_id"])
                if chat in self.blocked_by:
                    raise _Refusal(403, "Forbidden: bot was blocked by the user")
                if self.failures:
                    self.failures -= 1
                    raise _Refusal(502, "Bad Gateway")
                self.told.append(fields)
                return _message(len(self.told), fields["text"], {"id": chat, "type": "private"}, _BOT)
            assert method == "getUpdates"
            known = max(int(fields.get("offset", 0)) - 1, 0)
            self._changed.wait_for(lambda: len(self._updates) > known, float(fields["timeout"]))
            return self._updates[known:]

    def replies(self, count: int) -> list[str]:
        """The texts that were told, once there are so many."""
        assert wait_until(lambda: len(self.told) >= count), self.told
        return [str(message["text"]) for message in self.told]

    def __enter__(self) -> Self:
        """Answer from now on."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """No more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Refusal(Exception):
    def __init__(self, status: int, description: str) -> None:
        super().__init__(description)
        self.status = status


def _message(number: int, text: str, chat: dict[str, Any], sender: dict[str, Any]) -> dict[str, Any]:
    # What a bot takes for a command is marked as one by Telegram's clients.
    marks = [{"type": "bot_command", "offset": 0, "length": len(text)}] if text.startswith("/") else []
    return {
        "message_id": number,
        "date": int(time.time()),
        "chat": chat,
        "from": sender,
        "text": text,
        "entities": marks,
    }
