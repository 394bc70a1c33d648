"""What every earlier version has stored is there after the migration to nodes, as the built-in one's."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from tests.support.migrating import bring_to, bring_with_foreign_keys

from vpnkeys.domain.change import Intent, Stop
from vpnkeys.domain.nodes import LOCAL, NodeRecord
from vpnkeys.domain.traffic import Bytes, Gap, Samples
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import migrate
from vpnkeys.store.sql.store import SqlStore

BEFORE = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0010", "0012", "0013", "0014")
NOON = datetime(2026, 3, 1, 12)  # noqa: DTZ001 - UTC without an offset, as everywhere
WITH_INTENTS, NUMBERED = "0005", "0013"


def stored(engine: Engine, moment: datetime) -> datetime | str:
    """A moment as that database stores it."""
    return moment if engine.dialect.name != "sqlite" else f"{moment}.000000"


def insert(engine: Engine, table: str, **values: object) -> None:
    """Add a row by the columns of that version."""
    names = ", ".join(values)
    places = ", ".join(f":{name}" for name in values)
    statement = text(f"INSERT INTO {table} ({names}) VALUES ({places})")  # noqa: S608 - our own names
    given: dict[str, Any] = {name: stored(engine, v) if isinstance(v, datetime) else v for name, v in values.items()}
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(statement, given)


def fill(engine: Engine, revision: str) -> None:
    """Give it keys that have served in two lives, the first of which crashed, one that starts, and one that stops."""
    for number in (1, 2):
        numbered = {"number": number} if revision >= NUMBERED else {}
        insert(
            engine, "keys", id=f"k{number}", name="a key", uuid=f"u{number}", created_at=NOON, is_active=True,
            port=10000 + number, short_id=f"{number:02}", sni="a.test", flow="", **numbered,
        )  # fmt: skip
        for life in ("one", "two"):
            insert(engine, "traffic_usage", key_uuid=f"u{number}", epoch=life, up_bytes=number, down_bytes=2**40)
        insert(engine, "traffic_accounts", key_uuid=f"u{number}", base_bytes=5, offset_bytes=2)
    later = NOON.replace(minute=30)
    insert(
        engine, "epochs", epoch="one", first_sample_at=NOON, last_sample_at=NOON, ended_at=later, ended_cleanly=False
    )
    insert(engine, "epochs", epoch="two", first_sample_at=later, last_sample_at=later)
    if revision >= WITH_INTENTS:
        insert(engine, "intents", key_id="i", uuid="ui", port=10003, short_id="03", at=NOON)
        insert(engine, "stops", key_id="s", uuid="us", port=10004, at=NOON, is_confirmed=False)


@pytest.mark.parametrize("revision", BEFORE)
def test_all_is_the_built_in_node_s(engine: Engine, revision: str) -> None:
    """Keys, traffic, gaps, intents and stops; the life that was open goes on, and no promise of the tables is lost."""
    bring_to(engine, revision)
    fill(engine, revision)
    migrate(engine)
    store = SqlStore(engine)
    keys = store.keys()
    assert [(key.id, key.port, key.node) for key in keys] == [("k1", 10001, LOCAL), ("k2", 10002, LOCAL)]
    assert store.nodes() == (NodeRecord(LOCAL, "default", 1, None),)
    crashed = Gap(NOON, NOON.replace(minute=30))
    for number in (1, 2):
        found = store.traffic(f"u{number}")
        assert (found.total_bytes, found.gaps) == (2 * (number + 2**40) + 3, (crashed,))
    if revision >= WITH_INTENTS:
        assert store.intents() == (Intent("i", "ui", 10003, "03", NOON, LOCAL.id),)
        assert store.stops() == (Stop("s", "us", 10004, NOON, node_id=LOCAL.id),)
    with store.write() as transaction:
        transaction.ledger.merge(Samples("two", {"u1": Bytes(4, 2**40)}), NOON.replace(minute=40))
    assert (store.traffic("u1").total_bytes, store.traffic("u1").gaps) == (5 + 2**41 + 3, (crashed,))
    insert_same_port(engine)
    with store.write() as transaction:
        transaction.delete("k1")
    keys = store.keys()
    assert [key.id for key in keys] == ["k2"], "changes are seen"
    with engine.begin() as connection:
        both = "SELECT key_uuid FROM traffic_usage UNION SELECT key_uuid FROM traffic_accounts"
        left = connection.scalars(text(both))
        assert left.all() == ["u2"], "what was counted of a key goes with it"
    store.close()


def insert_same_port(engine: Engine) -> None:
    """A port is taken on its node, and a node has to be there."""
    row = {"name": "n", "created_at": NOON, "is_active": True, "sni": "a.test", "flow": ""}
    for node_id, port in ((LOCAL.id, 10001), (99, 10009)):
        with pytest.raises(IntegrityError):
            insert(engine, "keys", id="k9", uuid="u9", short_id="09", port=port, node_id=node_id, **row)


def test_it_refuses_to_drop_keys_with_all_that_is_theirs(tmp_path: Path) -> None:
    """On SQLite a table is dropped row by row, which foreign keys would follow."""
    engine = open_engine(f"sqlite:///{tmp_path / 'vpnkeys.db'}")
    bring_to(engine, "0013")
    fill(engine, "0013")
    with pytest.raises(RuntimeError, match="without foreign keys"):
        bring_with_foreign_keys(engine, "0014")
    migrate(engine)
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM traffic_usage")) == 4
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1, "in force again"
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
    engine.dispose()
