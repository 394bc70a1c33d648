"""Signed-in browsers: who has the cookie acts with the token it was exchanged for, without ever holding that token.

A session lives in memory and ends with the process, after twelve hours without use, or with its token. Its cookie is
out of reach of scripts and never sent from another site; whatever changes something must also send the session's CSRF
token in a header, which only a page of ours can know.
"""

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from vpnkeys.service.tokens import Identity

COOKIE = "__Host-vpnkeys"
CSRF_HEADER = "X-CSRF-Token"

_IDLE_S = 12 * 3600.0
_MOST = 1000


@dataclass(slots=True)
class Session:
    """One signed-in browser."""

    identity: Identity
    csrf: str
    last_used: float

    def allows(self, csrf: str | None) -> bool:
        """Whether this is the session's CSRF token."""
        return hmac.compare_digest((csrf or "").encode(), self.csrf.encode())


@dataclass(slots=True)
class Sessions:
    """All signed-in browsers of one server."""

    clock: Callable[[], float] = time.monotonic
    _open: dict[str, Session] = field(default_factory=dict, init=False)

    def open(self, identity: Identity) -> tuple[str, Session]:
        """A new session and the cookie's value. Beyond a thousand, the one longest unused gives way."""
        self._close_idle()
        if len(self._open) >= _MOST:
            del self._open[min(self._open, key=lambda name: self._open[name].last_used)]
        cookie = secrets.token_urlsafe(32)
        self._open[cookie] = Session(identity, secrets.token_urlsafe(32), self.clock())
        return cookie, self._open[cookie]

    def find(self, cookie: str | None) -> Session | None:
        """The session of a cookie, used now."""
        session = self._open.get(cookie or "")
        if session is None or self.clock() - session.last_used > _IDLE_S:
            return None
        session.last_used = self.clock()
        return session

    def close(self, cookie: str | None) -> None:
        """End a session, if there is one."""
        self._open.pop(cookie or "", None)

    def _close_idle(self) -> None:
        now = self.clock()
        self._open = {name: session for name, session in self._open.items() if now - session.last_used <= _IDLE_S}
