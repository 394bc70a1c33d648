"""Webhooks are sent from every Store, also from one that no event loop may ask."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tests.contract.test_outbox import hook
from tests.contract.test_store import NOON, add, key

from vpnkeys.domain.webhook import SendResult
from vpnkeys.interfaces import Store
from vpnkeys.service.sender import Sender


@dataclass
class Receiver:
    """Takes every event, and keeps its id."""

    ids: list[str] = field(default_factory=list)

    async def __call__(self, _url: str, headers: Mapping[str, str], _body: str) -> SendResult:
        """One more."""
        self.ids.append(headers["X-Vpnkeys-Delivery"])
        return SendResult(200)


@dataclass
class Now:
    """A time of day that stands still, long after everything."""

    def now(self) -> datetime:
        """That time."""
        return NOON.replace(year=NOON.year + 1)


async def look(sender: Sender) -> None:
    """Let it look once, and send what it finds."""
    await sender._look()
    await asyncio.gather(*sender._under_way.values())


def test_each_event_is_sent_once(store: Store) -> None:
    """And is settled then."""
    webhook = hook(store)
    add(store, key(1), key(2))
    receiver = Receiver()
    sender = Sender(store, receiver, Now())
    for _ in range(2):
        asyncio.run(look(sender))
    assert len(receiver.ids) == len(set(receiver.ids)) == 2
    assert store.unsettled(webhook.id, 10) == ()
