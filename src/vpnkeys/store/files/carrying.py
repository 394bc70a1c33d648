"""Carries what was counted since a backup into the database that is restored from it."""

import logging
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from vpnkeys.domain.errors import VpnKeysError
from vpnkeys.domain.nodes import NodeRef
from vpnkeys.domain.traffic import EpochSample
from vpnkeys.store.files.snapshot import peek
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.store import SqlStore

_log = logging.getLogger(__name__)


def carry_counters(replaced: Path, restored: Path) -> None:
    """Raise the counters of a restored database to those of the one that it replaces, of the keys that both have.

    Both have counted lives of the same Xray, in which no counter falls. One that cannot be read has nothing to carry.
    """
    try:
        before = peek(replaced, _names)
        lives = peek(replaced, _lives)
    except (VpnKeysError, SQLAlchemyError, sqlite3.Error, OSError, ValueError) as error:
        _log.warning("what was counted since the backup is lost, as %s cannot be read: %s", replaced, error)
        return
    engine = open_engine(f"sqlite:///{restored}")
    try:
        with closing(SqlStore(engine)) as store:
            # By id too: a key that was made again with the same UUID has used nothing of what the former one has.
            both = {account for _, account in {*before}.intersection(_names(store))}
            if both:
                _merge(store, lives, both)
    finally:
        engine.dispose()


def _names(store: SqlStore) -> tuple[tuple[str, str], ...]:
    """Return the id and the account of each key."""
    keys = store.keys()
    return tuple((key.id, key.account) for key in keys)


def _lives(store: SqlStore) -> tuple[tuple[NodeRef, EpochSample], ...]:
    """Return the lives of each node's Xray, oldest first."""
    return tuple((node.ref, life) for node in store.nodes() for life in store.lives(node.ref.id))


def _merge(store: SqlStore, lives: tuple[tuple[NodeRef, EpochSample], ...], accounts: set[str]) -> None:
    nodes = {node.ref for node in store.nodes()}
    with store.write() as transaction:
        for node, (samples, at, has_ended) in lives:
            if node not in nodes:
                continue
            usage = {account: used for account, used in samples.usage.items() if account in accounts}
            transaction.ledger.merge(replace(samples, usage=usage), at)
            if has_ended:
                transaction.ledger.end_epoch(samples.epoch, at, node.id)
