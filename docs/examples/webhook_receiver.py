"""A receiver of webhooks: takes genuine events, each once, and prints them.

    VPNKEYS_WEBHOOK_SECRET=… PORT=9000 python webhook_receiver.py

It listens on 127.0.0.1: put your web server with its TLS in front of it.
"""

import hashlib
import hmac
import json
import os
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

WINDOW_S = 300
MAX_BODY_BYTES = 64 * 1024

seen: set[str] = set()  # in a real receiver: a table with a unique key
one_at_a_time = Lock()


def is_genuine(secret: str, timestamp: str, signature: str, body: bytes, now_s: float) -> bool:
    """Return whether your server sent a request within the last five minutes. `body` is the raw body, not parsed."""
    if not timestamp.isdecimal() or abs(now_s - int(timestamp)) > WINDOW_S:
        return False
    signed = timestamp.encode() + b"." + body
    expected = "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode())


class Receiver(BaseHTTPRequestHandler):
    """2xx means: I have it. Anything else, and the event comes again."""

    def do_POST(self) -> None:
        """One event."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length", "0")), MAX_BODY_BYTES))
        timestamp, signature = (self.headers.get(f"X-Vpnkeys-{name}", "") for name in ("Timestamp", "Signature"))
        if is_genuine(os.environ["VPNKEYS_WEBHOOK_SECRET"], timestamp, signature, body, time.time()):
            event = json.loads(body)
            with one_at_a_time:
                if event["id"] not in seen:
                    print(event["event"], event["data"], flush=True)
                    seen.add(event["id"])  # after the work: an event for which that failed comes again
            self.send_response(HTTPStatus.NO_CONTENT)
        else:
            self.send_response(HTTPStatus.FORBIDDEN)
        self.end_headers()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9000"))), Receiver).serve_forever()
