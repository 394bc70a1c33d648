"""Keeps the sessions of signed-in browsers. A browser with the cookie acts with the token that it signed in with.

A session lives in memory and ends with the process, after twelve hours without use, or with its token. Its cookie is
out of reach of scripts and never sent from another site; a request that changes something must also send the session's
CSRF token in a header, which only a page of ours can know.
"""

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from vpnkeys.service.tokens import Identity

_IDLE_S = 12 * 3600.0
_MOST_OF_ONE = 100
"""Sessions of one API key or token: a thief of the smallest token cannot sign others out."""


@dataclass(slots=True)
class Session:
    """Holds one signed-in browser: who it acts as, its CSRF token, and when it was last used (seconds of `clock`)."""

    identity: Identity
    csrf: str
    last_used: float

    def allows(self, csrf: str) -> bool:
        """Return whether this is the session's CSRF token."""
        return hmac.compare_digest(csrf.encode(), self.csrf.encode())


@dataclass(slots=True)
class Sessions:
    """Keeps all signed-in browsers of one server, in memory: no second kind of secret lies on the disk."""

    clock: Callable[[], float] = time.monotonic
    _open: dict[str, Session] = field(default_factory=dict, init=False)

    def open(self, identity: Identity) -> tuple[str, Session]:
        """Begin a session; return the cookie's value and the session.

        When the identity has a hundred, its longest unused one ends; those of others stay.
        """
        self._close_idle()
        own = [name for name, session in self._open.items() if session.identity.id == identity.id]
        if len(own) >= _MOST_OF_ONE:
            del self._open[min(own, key=lambda name: self._open[name].last_used)]
        # 32 random bytes: a session needs no second check, so that its name alone must be impossible to guess.
        cookie = secrets.token_urlsafe(32)
        self._open[cookie] = Session(identity, secrets.token_urlsafe(32), self.clock())
        return cookie, self._open[cookie]

    def find(self, cookie: str) -> Session | None:
        """Return the session of a cookie, and note that it was used now; None when there is none."""
        session = self._open.get(cookie)
        if session is None or self.clock() - session.last_used > _IDLE_S:
            return None
        session.last_used = self.clock()
        return session

    def close(self, cookie: str) -> None:
        """End a session, if there is one."""
        self._open.pop(cookie, None)

    def _close_idle(self) -> None:
        now = self.clock()
        self._open = {name: session for name, session in self._open.items() if now - session.last_used <= _IDLE_S}
