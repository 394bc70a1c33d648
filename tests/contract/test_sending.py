"""Webhooks are sent from every Store, and by one of several servers that share it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tests.contract.test_outbox import hook
from tests.contract.test_store import NOON, add, key
from tests.support.databases import Database

from vpnkeys.domain.webhook import SendResult
from vpnkeys.interfaces import Store
from vpnkeys.service.nodes.lease import Lease
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


async def look(*senders: Sender) -> None:
    """Let each look once, and send what it finds."""
    for sender in senders:
        await sender._look()
        await asyncio.gather(*sender._under_way.values())


def test_an_event_is_sent_once_by_one_of_two(database: Database, store: Store) -> None:
    """Also where the database is elsewhere, which no event loop may ask."""
    other = database.open()
    hook(store)
    add(store, key(1), key(2))
    receiver, clock = Receiver(), Now()
    first, second = (
        Sender(one, receiver, clock, turn=Lease("webhooks", one, owner).is_mine)
        for one, owner in ((store, "first"), (other, "second"))
    )
    asyncio.run(look(first, second))
    assert len(receiver.ids) == len(set(receiver.ids)) == 2
    (webhook,) = store.webhooks()
    assert store.unsettled(webhook.id, 10) == ()
    other.close()


def test_what_was_delivered_stays_so(store: Store) -> None:
    """A server that was slow may say later that its own try has failed."""
    webhook = hook(store)
    add(store, key(1))
    (waiting,) = store.unsettled(webhook.id, 1)
    with store.write() as transaction:
        transaction.outbox.settle(waiting.delivered(NOON))
    with store.write() as transaction:
        transaction.outbox.settle(waiting.failed("no answer", NOON, 0.5))
    assert store.unsettled(webhook.id, 1) == ()
