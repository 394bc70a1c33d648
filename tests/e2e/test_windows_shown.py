"""How much is left is the same number wherever it is shown, and the one by which the limit strikes."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from tests.support.clients import XrayClient
from tests.support.keys import Key, link_of, make_key
from tests.support.process import wait_until
from tests.support.receiver import Receiver
from tests.support.service import Service
from tests.support.streams import ByteServer, TransferError, transfer

pytestmark = pytest.mark.e2e

LIMIT = 10**6
FIELDS = ("used_in_window_bytes", "remaining_bytes", "resets_at")


def left(answer: Any) -> tuple[int, int | None, str]:  # noqa: ANN401 - JSON
    """What is told of the window; moments to the second, as answers about traffic have them."""
    used, remaining, resets_at = (answer[name] for name in FIELDS)
    return used, remaining, (resets_at or "")[:19]


def by_key(service: Service, path: str, key: Key) -> tuple[int, int | None, str]:
    """What an answer tells of a key, alone or among others."""
    answer = service.client.get(path).raise_for_status().json()
    entries = answer if isinstance(answer, list) else answer.get("keys", [answer])
    (found,) = [left(one) for one in entries if key["id"] in {one.get("id"), one.get("key_id")}]
    return found


@pytest.mark.parametrize("window", ["total", "day", "week", "month", "month@31", "30d"])
def test_what_is_left_is_the_same_everywhere(service: Service, byte_server: ByteServer, window: str) -> None:
    """In the key, the list, both answers about traffic, the subscription, the customer's page and the command line."""
    key = make_key(service, f"window {window}")
    limit = {"traffic_limit_bytes": LIMIT, "traffic_limit_window": window}
    path = f"/api/keys/{key['id']}"
    assert left(service.client.patch(path, json=limit).raise_for_status().json())[:2] == (0, LIMIT)
    with XrayClient(link_of(service, key)) as client, byte_server.open(client.socks) as sock:
        transfer(sock, 100_000, 200_000)
    now = left(service.client.get(f"{path}/traffic").raise_for_status().json())
    assert 300_000 <= now[0] < 400_000
    assert (now[1], bool(now[2])) == (LIMIT - now[0], window != "total")
    for place in (path, "/api/keys", f"/api/keys?name=window {window}", "/api/traffic", f"{path}/traffic"):
        assert by_key(service, place, key) == now, place
    url = service.client.post(f"{path}/subscription").raise_for_status().json()["url"]
    with service.new_client(api_key="") as customer:
        info = customer.get(url, headers={"User-Agent": "v2rayN/7.0"}).headers["subscription-userinfo"]
        page = customer.get(url, params={"format": "html"}, headers={"Accept-Language": "en"}).text
    assert f"download={now[0]}; total={LIMIT}" in info
    assert f'value="{now[0] * 100 // LIMIT}"' in page
    assert re.search(rf"{(LIMIT - now[0]) // 1000}(\.\d)? kB left", page), page
    shown = json.loads(service.cli("keys", "show", key["id"], "--json").stdout)["key"]
    assert left(shown) == now
    service.client.delete(path).raise_for_status()


def test_a_customer_is_stopped_when_nothing_is_left_and_told_of_before(
    service: Service, byte_server: ByteServer
) -> None:
    """The bar is full when the key stops, and webhooks had 80 % and 95 % before; a time began with the first byte."""
    with Receiver() as receiver:
        hook = {"url": receiver.url, "events": ["key.limit_near", "key.limited"]}
        service.client.post("/api/webhooks", json=hook).raise_for_status()
        key = make_key(service, "near")
        path = f"/api/keys/{key['id']}"
        limits = {"traffic_limit_bytes": LIMIT, "traffic_limit_window": "week", "expires_after_s": 86400}
        waiting = service.client.patch(path, json=limits).raise_for_status().json()
        assert (waiting["expires_at"], waiting["expires_after_s"]) == (None, 86400)
        with XrayClient(link_of(service, key)) as client:
            for told, (count, percent) in enumerate(((850_000, 80), (110_000, 95)), start=1):
                with byte_server.open(client.socks) as sock:
                    transfer(sock, count, 1000)
                assert wait_until(lambda: len(of(receiver, key, "key.limit_near")) >= told)  # noqa: B023 - called at once
                near = of(receiver, key, "key.limit_near")[-1]
                assert near["percent"] == percent
                assert near["used_in_window_bytes"] + near["remaining_bytes"] == LIMIT
            begun = service.client.get(path).json()
            assert begun["expires_at"] is not None
            with suppress(OSError, TransferError), byte_server.open(client.socks) as sock:
                transfer(sock, 60_000, 1000)
        assert wait_until(lambda: of(receiver, key, "key.limited") != [])
        stopped = service.client.get(path).json()
        assert (stopped["status"], stopped["remaining_bytes"]) == ("limited", 0)
        assert stopped["used_in_window_bytes"] >= LIMIT
        assert [one["percent"] for one in of(receiver, key, "key.limit_near")] == [80, 95]


def of(receiver: Receiver, key: Key, event: str) -> list[dict[str, Any]]:
    """What was sent of a key."""
    bodies = [request.json for request in receiver.requests if request.event == event]
    return [body["data"] for body in bodies if body["data"]["id"] == key["id"]]
