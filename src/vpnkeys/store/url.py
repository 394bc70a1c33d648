"""Parses the URL of a database: what cannot be one of ours is refused here, before anything is opened or made."""

import re
from urllib.parse import quote, unquote

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from vpnkeys.domain.portpool import is_port

_IN_MEMORY = frozenset({"", ":memory:"})
_URL = re.compile(
    r"(?P<scheme>sqlite|postgresql(?:\+psycopg)?)://"
    r"(?P<user>[^:/@?]*(?::[^@]*)?@)?(?P<hosts>[^/@?]*)(?:/(?P<database>[^?]*))?(?P<query>\?(?:&?\w+=[^&]*)*)?",
    re.DOTALL,
)
# libpq has the directory of a Unix socket here too, with %2F for each slash.
_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>(?:[\w.-]|%2[Ff])*))(?::(?P<port>\d*))?")


def parse_database_url(value: object) -> str:
    """Return the URL as SQLAlchemy takes it: several hosts become parameters.

    Raises ValueError, whose text has nothing that may be of the password.
    """
    url = _URL.fullmatch(str(value))
    if url is None or (url["scheme"] != "sqlite" and "@" in (url["database"] or "")):
        raise _unreadable()
    if url["scheme"] == "sqlite":
        _require_file(url)
        return url[0]
    whole = _with_hosts(url)
    _check_parameters(whole)
    return whole


def _unreadable() -> ValueError:
    return ValueError(
        "this cannot be read; give sqlite:////path/of/a/file or postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with "
        "%40 for each @ of the password, and an IPv6 address in brackets"
    )


def _require_file(url: re.Match[str]) -> None:
    """Raise ValueError for SQLite in memory: each connection would have a database of its own."""
    file = unquote(url["database"] or "")
    if url["user"] or url["hosts"] or file in _IN_MEMORY or file.startswith("file:"):
        msg = "an SQLite database has to be a file; give sqlite:////path/of/a/file"
        raise ValueError(msg)


def _with_hosts(url: re.Match[str]) -> str:
    """Return the URL; several hosts, or a directory, are parameters, as SQLAlchemy has no other place for them."""
    places = [_place(text) for text in url["hosts"].split(",")]
    if len(places) == 1 and "/" not in places[0][0]:
        return url[0]
    hosts, ports = (quote(",".join(each)) for each in zip(*places, strict=True))
    more = f"&{url['query'][1:]}" if url["query"] else ""
    return f"{url['scheme']}://{url['user'] or ''}/{url['database'] or ''}?host={hosts}&port={ports}{more}"


def _place(text: str) -> tuple[str, str]:
    """Return a host and its port, each empty where it is not given. Raises ValueError."""
    found = _HOST.fullmatch(text)
    if found is None or (found["port"] and not is_port(found["port"])):
        raise _unreadable()
    return unquote(found["ipv6"] or found["name"]), found["port"] or ""


def _check_parameters(text: str) -> None:
    """Raise ValueError for parameters that the driver does not take; without a driver, the opening says so."""
    try:
        from psycopg import Error  # noqa: PLC0415 - most servers have no psycopg to load
        from psycopg.conninfo import conninfo_to_dict, make_conninfo, timeout_from_conninfo  # noqa: PLC0415
    except ImportError:
        return
    try:
        url = make_url(text).set(drivername="postgresql+psycopg")
        _, given = url.get_dialect()().create_connect_args(url)
        texts = {name: str(part) for name, part in given.items() if isinstance(part, str | int)}
        timeout_from_conninfo(conninfo_to_dict(make_conninfo(**texts)))
    except (ArgumentError, ValueError, Error) as error:
        msg = f"a parameter is wrong: {str(error).strip()}; see what follows the question mark"
        raise ValueError(msg) from None
