"""Pages of other origins call the API only where a setting names them, and never with a cookie."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from vpnkeys.api.cors import CrossOrigin
from vpnkeys.domain.networks import parse_origins

SHOP = "https://shop.example"
ASKING = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key,idempotency-key"}


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("of the API", headers={"X-RateLimit-Limit": "5"})(scope, receive, send)


async def _ask(method: str, path: str, origin: str, origins: tuple[str, ...] = (SHOP,)) -> httpx.Response:
    transport = httpx.ASGITransport(CrossOrigin(_app, origins))
    headers = {"Origin": origin, **(ASKING if method == "OPTIONS" else {})}
    async with httpx.AsyncClient(transport=transport, base_url="https://vpn.example") as client:
        return await client.request(method, path, headers=headers)


def _run(method: str, path: str, origin: str, origins: tuple[str, ...] = (SHOP,)) -> httpx.Response:
    return asyncio.run(_ask(method, path, origin, origins))


def test_a_named_origin_may_ask_and_read() -> None:
    """With an API key, which it has to send itself: no answer allows cookies."""
    asked = _run("OPTIONS", "/api/keys", SHOP)
    assert asked.status_code == httpx.codes.OK
    assert asked.headers["access-control-allow-origin"] == SHOP
    assert {"x-api-key", "idempotency-key"} <= set(asked.headers["access-control-allow-headers"].lower().split(", "))
    told = _run("POST", "/api/keys", SHOP)
    assert (told.text, told.headers["access-control-allow-origin"]) == ("of the API", SHOP)
    assert "X-RateLimit-Remaining" in told.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in {**asked.headers, **told.headers}


@pytest.mark.parametrize("origin", ["https://evil.example", "http://shop.example", "https://shop.example:444", "null"])
def test_another_origin_may_not(origin: str) -> None:
    """The browser keeps the answer from its page, and does not send what would change something."""
    assert _run("OPTIONS", "/api/keys", origin).status_code == httpx.codes.BAD_REQUEST
    assert "access-control-allow-origin" not in _run("POST", "/api/keys", origin).headers


@pytest.mark.parametrize("path", ["/ui/", "/ui/session"])
def test_the_dashboard_is_nobody_elses(path: str) -> None:
    """Neither where all origins may call the API."""
    for origins in ((SHOP,), ("*",)):
        assert "access-control-allow-origin" not in _run("POST", path, SHOP, origins).headers


def test_origins_are_read() -> None:
    """Each once; what is no origin is named."""
    assert parse_origins("") == ()
    assert parse_origins(f" {SHOP}, http://[::1]:8080,{SHOP}") == (SHOP, "http://[::1]:8080")
    assert parse_origins("*") == ("*",)
    for wrong in ("shop.example", f"{SHOP}/", f"{SHOP}/path", "https://Shop.example", "null", "ftp://shop.example"):
        with pytest.raises(ValueError, match=r"https://shop\.example"):
            parse_origins(wrong)
