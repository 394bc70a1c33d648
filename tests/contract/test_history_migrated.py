"""The history by hour of every earlier version is there after the migration, hour by hour, on each kind of database."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from tests.support.migrating import bring_to
from tests.support.postgres import Cluster

from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import migrate
from vpnkeys.store.sql.store import SqlStore

BEFORE = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0010", "0012")
"""The versions with a row for each hour."""
NEWEST = datetime(2026, 3, 1, 23)  # noqa: DTZ001 - UTC without an offset, as everywhere
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AT = (
    *(NEWEST - hour * HOUR for hour in range(0, 60, 7)),
    *(NEWEST - day * DAY for day in (30, 89, 90)),
    NEWEST.replace(hour=0) - 90 * DAY,
    NEWEST.replace(hour=0) - 91 * DAY,  # days that were folded
    NEWEST.replace(hour=0) - 400 * DAY,
)
UUIDS = tuple(str(UUID(int=number)) for number in range(3))


def fill(engine: Engine) -> dict[str, dict[datetime, Bytes]]:
    """Give it two keys with history, one of them without the newest hours, and one without; return what is in it."""
    of_key: dict[str, dict[datetime, Bytes]] = {uuid: {} for uuid in UUIDS}
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        for number, uuid in enumerate(UUIDS):
            connection.execute(
                text(
                    "INSERT INTO keys (id, name, uuid, created_at, is_active, port, short_id, sni, flow) VALUES "
                    "(:id, 'a key', :uuid, :at, :yes, :port, :id, 'a.test', '')"
                ),
                # The last one is the oldest: numbers follow the age.
                {"id": f"{number:016}", "uuid": uuid, "at": NEWEST - number * DAY, "yes": True, "port": 10001 + number},
            )
        for number, uuid in enumerate(UUIDS[:2]):
            for place, at in enumerate(AT[number * 5 :]):
                used = of_key[uuid][at] = Bytes(1000 * number + place, 2**40 + place)
                connection.execute(
                    text(
                        "INSERT INTO traffic_hours (key_uuid, hour, up_bytes, down_bytes) VALUES (:u, :at, :up, :down)"
                    ),
                    {"u": uuid, "at": at if engine.dialect.name != "sqlite" else f"{at}.000000", **used._asdict()},
                )
    return of_key


def history(store: SqlStore, uuid: str | None) -> dict[datetime, Bytes]:
    """All that it has."""
    points = store.history(uuid, NEWEST - 1000 * DAY, NEWEST + DAY)
    return {point.begin: point.usage for point in points}


@pytest.mark.parametrize("revision", BEFORE)
def test_no_hour_is_lost(engine: Engine, revision: str) -> None:
    """Each key has each of its hours; what is older than 90 days is the sum of its day, as it was."""
    bring_to(engine, revision)
    was = fill(engine)
    migrate(engine)
    store = SqlStore(engine)
    for uuid in UUIDS:
        assert history(store, uuid) == was[uuid]
    everything = history(store, None)
    assert everything.keys() == {at for hours in was.values() for at in hours}
    assert sum(used.total for used in everything.values()) == sum(b.total for h in was.values() for b in h.values())
    # It goes on where it was: the same hour grows, a deleted key takes its own along.
    with store.write() as transaction:
        transaction.ledger.merge(Samples("a life", {UUIDS[0]: Bytes(7, 0), UUIDS[2]: Bytes(0, 9)}), NEWEST + HOUR / 2)
    assert history(store, UUIDS[0])[NEWEST] == Bytes(was[UUIDS[0]][NEWEST].up + 7, was[UUIDS[0]][NEWEST].down)
    assert history(store, UUIDS[2]) == {NEWEST: Bytes(0, 9)}
    with store.write() as transaction:
        transaction.delete(f"{1:016}")
    assert sum(used.total for used in history(store, None).values()) == 16 + sum(
        b.total for b in was[UUIDS[0]].values()
    )
    store.close()


def test_a_database_without_history_has_none(engine: Engine) -> None:
    """Nor partitions of days that nobody wrote to; the first sample makes its own."""
    bring_to(engine, "0007")
    migrate(engine)
    store = SqlStore(engine)
    assert history(store, None) == {}
    store.close()


def test_an_old_day_is_dropped_as_a_whole(postgres: Cluster) -> None:
    """On PostgreSQL a day is a partition, that the day's first sample makes and the fold drops."""
    engine = open_engine(postgres.empty_database())
    bring_to(engine, "0007")
    fill(engine)
    migrate(engine)

    def partitions() -> list[str]:
        with engine.begin() as connection:
            return sorted(
                connection.scalars(
                    text(
                        "SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class "
                        "ON oid = inhrelid AND relkind = 'r'"
                    )
                )
            )

    before = partitions()
    assert (before[0], before[-1]) == ("traffic_history_20251201", "traffic_history_20260301")
    store = SqlStore(engine)
    with store.write() as transaction:
        transaction.ledger.merge(Samples("a life", {UUIDS[0]: Bytes(7, 0)}), NEWEST + DAY)
        assert transaction.ledger.fold_into_days(NEWEST.replace(hour=0) - 85 * DAY)
    assert partitions() == [*before[1:], "traffic_history_20260302"]
    store.close()
