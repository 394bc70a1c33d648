"""Reads the headers by which a request says who sends it."""

from collections.abc import Iterable
from typing import NamedTuple

from starlette.requests import cookie_parser

from vpnkeys.api.errors import CredentialsDiffer

COOKIE = "__Host-vpnkeys"
CSRF_HEADER = "X-CSRF-Token"

_API_KEY, _AUTHORIZATION, _COOKIE, _CSRF = b"x-api-key", b"authorization", b"cookie", CSRF_HEADER.lower().encode()
_NAMES = frozenset({_API_KEY, _AUTHORIZATION, _COOKIE, _CSRF})


class Credentials(NamedTuple):
    """Holds what a request shows. `token` is an API key or a token, `cookie` a browser's session; empty if absent."""

    token: str
    cookie: str
    csrf: str


def credentials_in(headers: Iterable[tuple[bytes, bytes]]) -> Credentials:
    """Return what the headers show; each of these is there once (`api/headers.py`).

    Existing bots send the API key in either header. Raises CredentialsDiffer when both are there with another value
    each: a proxy in front may have checked one, and this server would take the other.
    """
    given = {name: value for name, value in headers if name in _NAMES}
    key, bearer = given.get(_API_KEY, b""), _bearer(given.get(_AUTHORIZATION, b""))
    if key and bearer and key != bearer:
        raise CredentialsDiffer
    csrf = given.get(_CSRF, b"")
    # Latin-1 decodes any bytes, one to one: a wrong key with odd bytes is refused as wrong, and raises nothing.
    return Credentials((key or bearer).decode("latin-1"), _session(given.get(_COOKIE, b"")), csrf.decode("latin-1"))


def _bearer(authorization: bytes) -> bytes:
    """Return the credentials of the scheme Bearer, whose name may be written in any case."""
    scheme, _, credentials = authorization.partition(b" ")
    return credentials.strip() if scheme.lower() == b"bearer" else b""


def _session(cookies: bytes) -> str:
    return cookie_parser(cookies.decode("latin-1")).get(COOKIE, "") if cookies else ""
