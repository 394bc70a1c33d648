"""What is lost when an earlier backup takes the place of a later one: all that was ordered since, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.contract.test_nodes_migrated import BEFORE, fill
from tests.contract.test_store import NOON, add, key
from tests.support.databases import sqlite
from tests.support.migrating import bring_to

from vpnkeys.cli.output.losses import losses_in_words
from vpnkeys.domain.limits import Status
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Scope, new_token
from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.domain.webhook import Webhook
from vpnkeys.interfaces import Store
from vpnkeys.ops.losses import losses
from vpnkeys.store.files.backup import Backup
from vpnkeys.store.files.compared import Difference, Differences
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import migrate

STAYS, GOES, NEW, RESET = (key(number) for number in range(1, 5))
TOKEN, _ = new_token("a bot", Scope.KEYS, NOON)
OTHER_TOKEN, _ = new_token("another bot", Scope.KEYS, NOON)
HOOK = Webhook("hook", "https://a.example/", "secret", (), is_active=True, created_at=NOON)


def merge(store: Store, epoch: str, minutes: int, **used: int) -> None:
    """A sample in a life of Xray, so many minutes after noon."""
    with store.write() as transaction:
        usage = {key(int(number[1:])).uuid: Bytes(0, size) for number, size in used.items()}
        transaction.ledger.merge(Samples(epoch, usage), NOON + timedelta(minutes=minutes))


def backup_of(database: Path, **files: bytes) -> Backup:
    """A backup with these other files, by the first part of their names."""
    others = {"reality": "reality.json", "api": "api-key.json", "env": "vpnkeys.env"}
    members = {others[name]: content for name, content in files.items()}
    return Backup("1", "2026-03-01T12:00:00Z", {"vpnkeys.db": database.read_bytes(), **members})


Change = Callable[[Store], None]


@pytest.fixture
def since(tmp_path: Path) -> Callable[[Change], Differences]:
    """What is lost of a change to a database with keys, a token, a webhook, and traffic of two lives."""

    def found(change: Change) -> Differences:
        file = tmp_path / "vpnkeys.db"
        store = sqlite(file).open()
        add(store, STAYS, GOES, RESET)
        merge(store, "first", 1, k1=100, k2=100, k4=7)
        merge(store, "second", 2, k1=10)
        with store.write() as transaction:
            transaction.put_token(TOKEN)
            transaction.outbox.put_webhook(HOOK)
        store.close()
        earlier = backup_of(file)
        store = sqlite(file).open()
        change(store)
        store.close()
        return losses(earlier, backup_of(file)).database

    return found


def test_what_was_made_removed_and_changed_is_named(since: Callable[[Change], Differences]) -> None:
    """Keys with their resets of traffic, tokens, subscriptions and webhooks, each by the name that people know."""

    def change(store: Store) -> None:
        with store.write() as transaction:
            transaction.delete(GOES.id)
            transaction.insert(NEW)
            transaction.update(replace(STAYS, note="hello"))
            transaction.ledger.reset(RESET.uuid, NOON)
            transaction.put_token(replace(TOKEN, revoked_at=NOON))
            transaction.put_token(OTHER_TOKEN)
        with store.write() as transaction:
            transaction.outbox.delete_webhook(HOOK.id)
            transaction.put_subscription(Subscription("all", (STAYS.id, NEW.id), "hash", NOON))

    assert since(change).things == (
        Difference("keys", made=(NEW.name,), removed=(GOES.name,), changed=(STAYS.name, RESET.name)),
        Difference("tokens", made=("another bot",), removed=(), changed=("a bot",)),
        Difference("subscriptions", made=("all",), removed=(), changed=()),
        Difference("webhooks", made=(), removed=(HOOK.url,), changed=()),
    )


def test_what_changes_by_itself_is_no_loss(since: Callable[[Change], Differences]) -> None:
    """A limit that was reached is reached again, and a token's last use is nobody's order."""

    def change(store: Store) -> None:
        with store.write() as transaction:
            transaction.update(replace(STAYS, limit_status=Status.EXPIRED))
            transaction.put_token(replace(TOKEN, last_used_at=NOON))
        merge(store, "second", 3, k1=10, k4=0)

    found = since(change)
    assert [thing for thing in found.things if thing.made or thing.removed or thing.changed] == []
    assert (found.counted_bytes, found.ended_bytes) == (0, 0)


def test_traffic_is_lost_of_lives_that_ended(since: Callable[[Change], Differences]) -> None:
    """What the present Xray has counted, it tells again. Keys that go, or that come back, are counted elsewhere."""

    def change(store: Store) -> None:
        merge(store, "second", 3, k1=15)
        merge(store, "third", 4, k1=1000, k2=1)
        with store.write() as transaction:
            transaction.delete(GOES.id)
            transaction.insert(NEW)
        merge(store, "third", 5, k1=2000, k3=40)

    found = since(change)
    assert (found.counted_bytes, found.ended_bytes) == (2005, 5)


@pytest.mark.parametrize("revision", BEFORE)
def test_a_migration_alone_loses_nothing(tmp_path: Path, revision: str) -> None:
    """A database of any earlier version has what the present one has that was made of it."""
    earlier, later = tmp_path / "earlier.db", tmp_path / "later.db"
    engine = open_engine(f"sqlite:///{earlier}")
    bring_to(engine, revision)
    fill(engine, revision)
    engine.dispose()
    shutil.copy(earlier, later)
    engine = open_engine(f"sqlite:///{later}")
    migrate(engine)
    engine.dispose()
    assert list(losses_in_words(losses(backup_of(earlier), backup_of(later)))) == ["nothing was changed since"]


def test_each_loss_is_a_line(tmp_path: Path, since: Callable[[Change], Differences]) -> None:
    """With the first names, how many more there are, and the files that are others; settings stay as they are."""

    def change(store: Store) -> None:
        add(store, *(key(number) for number in range(10, 17)))
        merge(store, "second", 3, k1=2_000_010)

    since(change)
    file = tmp_path / "vpnkeys.db"
    empty = tmp_path / "empty.db"
    sqlite(empty)
    before = backup_of(empty, reality=b"1", api=b"1", env=b"1")
    first, *others = losses_in_words(losses(before, backup_of(file, reality=b"2", api=b"1", env=b"2")))
    assert first.startswith("keys made since are gone, and their links do not work any more: name 1, name 10, name 11,")
    assert first.endswith(", name 13 and 5 more")
    assert others == [
        "tokens made since open nothing any more: a bot",
        "webhooks made since get no events any more: https://a.example/",
        "10 entries of the audit log are gone",
        "the REALITY key pair of then comes back: links of the present one do not work any more",
    ]
