"""Who is the caller of a request that came by proxies."""

from typing import Any

import anyio
import pytest

from vpnkeys.domain.reached import caller_of, parse_networks
from vpnkeys.server.trusted import Forwarded

PROXY, STRANGER = "127.0.0.1", "203.0.113.9"
PROXIES = parse_networks("127.0.0.1, 10.0.0.0/8, 2001:db8:1::/48")


@pytest.mark.parametrize(
    ("forwarded", "caller"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("6.6.6.6, 5.6.7.8", "5.6.7.8"),
        ("7.7.7.7,10.1.1.1", "7.7.7.7"),
        ("7.7.7.7, 10.1.1.1, 2001:db8:1::5", "7.7.7.7"),
        ("10.1.1.1", "10.1.1.1"),
        ("1.2.3.4:5678", "1.2.3.4"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("::ffff:9.9.9.9", "9.9.9.9"),
        ("9.9.9.9, ::ffff:10.1.1.1", "9.9.9.9"),
        ("1.2.3.4,", "1.2.3.4"),
        ("", PROXY),
        (",", PROXY),
        ("evil", PROXY),
        ("unknown", PROXY),
        ("1.2.3.4, evil", PROXY),
        ("1.2.3.4, evil, 10.1.1.1", "10.1.1.1"),
        ("9" * 3000, PROXY),
        ("[evil]:443", PROXY),
        ("1.2.3.4:port", PROXY),
    ],
)
def test_only_addresses_count(forwarded: str, caller: str) -> None:
    """Where a proxy says anything else, the caller is the proxy itself: the audit log has no invented origins."""
    assert caller_of(PROXY, forwarded, PROXIES) == caller
    assert caller_of(f"::ffff:{PROXY}", forwarded, PROXIES) == caller


def test_a_stranger_says_nothing_of_itself() -> None:
    """Whatever the header has: it would evade the limit on wrong API keys."""
    assert caller_of(STRANGER, "1.2.3.4", PROXIES) == STRANGER
    assert caller_of("", "1.2.3.4", PROXIES) == ""


def test_each_header_counts_in_its_place() -> None:
    """A proxy may add a header of its own below that of its caller."""
    seen: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: object, send: object) -> None:
        seen.append(scope)

    async def ask(*values: str) -> None:
        headers = [(b"host", b"x"), *((b"x-forwarded-for", value.encode()) for value in values)]
        scope = {"type": "http", "client": (PROXY, 4000), "headers": headers}
        await Forwarded(app, PROXIES)(scope, None, None)  # type: ignore[arg-type]
        await Forwarded(app, PROXIES)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]

    anyio.run(ask, "8.8.8.8", "4.4.4.4")
    assert seen[0]["client"] == ("4.4.4.4", 4000)
    assert seen[1] == {"type": "lifespan"}
