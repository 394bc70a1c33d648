"""Webhooks by way of the API."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.service import Service

Json = dict[str, Any]


def add(service: Service, url: str, *events: str) -> Json:
    """A webhook, with its secret."""
    answer = service.client.post("/api/webhooks", json={"url": url, "events": [*events]})
    assert answer.status_code == httpx.codes.OK, answer.text
    made: Json = answer.json()
    return made


def deliveries(service: Service, webhook: Json) -> list[Json]:
    """The newest first."""
    found: list[Json] = service.client.get(f"/api/webhooks/{webhook['id']}/deliveries").raise_for_status().json()
    return found


def wait_settled(service: Service, webhook: Json) -> list[Json]:
    """All deliveries, once nothing is to be told any more."""
    service.child.wait_for(
        lambda: not [one for one in deliveries(service, webhook) if one["next_try_at"]], "end of all deliveries"
    )
    return deliveries(service, webhook)
