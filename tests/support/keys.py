"""Keys by way of the API, and what matters of each: whether bytes get through."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.support.link import VlessLink
from tests.support.service import Service
from tests.support.socks import Address
from tests.support.streams import ByteServer, TransferError, transfer

Key = dict[str, Any]

_PROBE_BYTES = 1_000


def make_key(service: Service, name: str = "key") -> Key:
    """A new key as it is listed; anything but 200 is an error."""
    made = _ok(service, service.client.post("/api/keys", json={"name": name}))
    assert made.pop("ignored_fields") == []  # only the answer that makes a key has them
    return made


def lasting(key: Key) -> Key:
    """A key without what it has used, which moves with each byte, and what follows from it."""
    moving = {"used_in_window_bytes", "remaining_bytes", "resets_at"}
    return {name: value for name, value in key.items() if name not in moving}


def delete_key(service: Service, key: Key) -> None:
    """Delete a key; anything but 200 is an error."""
    _ok(service, service.client.delete(f"/api/keys/{key['id']}"))


def list_keys(service: Service) -> list[Key]:
    """All keys."""
    keys: list[Key] = service.client.get("/api/keys").raise_for_status().json()
    return keys


def link_of(service: Service, key: Key) -> VlessLink:
    """A key's link, strictly read."""
    config = _ok(service, service.client.get(f"/api/keys/{key['id']}/config"))
    return VlessLink.parse(config["vless_url"])


def carries(proxy: Address, server: ByteServer, timeout: float = 10.0) -> bool:
    """Whether known bytes get through in one attempt; wrong bytes count as none."""
    try:
        with server.open(proxy, timeout=timeout) as sock:
            transfer(sock, _PROBE_BYTES, _PROBE_BYTES)
    except (OSError, TransferError):
        return False
    return True


def carrying(proxies: Sequence[Address], server: ByteServer, timeout: float = 10.0) -> list[bool]:
    """Whether known bytes get through each proxy, all tried side by side."""
    with ThreadPoolExecutor(len(proxies)) as pool:
        return list(pool.map(lambda proxy: carries(proxy, server, timeout), proxies))


def _ok(service: Service, answer: httpx.Response) -> Key:
    if answer.status_code != httpx.codes.OK:
        raise service.child.error(f"{answer.request.method} {answer.request.url.path}: {answer.text}")
    body: Key = answer.json()
    return body
