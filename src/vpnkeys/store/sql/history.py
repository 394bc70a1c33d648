"""Keeps what keys used by hour and day, inside a transaction.

A row holds a key's day with its 24 hours; a day that is older than 90 days becomes a row without them (`fold`). On
PostgreSQL each day is a partition: functions of the database make and drop it (migration 0013), so that the server's
role needs no right to make tables.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Executable,
    Select,
    and_,
    bindparam,
    case,
    cast,
    delete,
    extract,
    func,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.exc import DBAPIError

from vpnkeys.domain.errors import StoreUnavailable
from vpnkeys.domain.traffic import Bytes, Point
from vpnkeys.store.sql.bulk import BYTES, given, given_bytes, in_parts, insert_into, is_few, of_uuids, those
from vpnkeys.store.sql.faults import Cause, cause_of
from vpnkeys.store.sql.tables import HOURS, keys, traffic_accounts, traffic_days, traffic_history

_FOLD_S = 60
"""How long the fold of a day may take on PostgreSQL, where statements have 1.8 seconds otherwise."""

_FOLD_LOCK_S = 0.05
"""How long it waits for those who read the history: others queue behind it, and a dump reads for minutes."""

_WAYS = ("up", "down")
_SUMS = tuple(f"{way}_bytes" for way in _WAYS)
_PLACE = ("day", "key_number")
_ROW, _ACCOUNT = traffic_history.c, traffic_accounts.c
_ON_DAY = bindparam("on_day", type_=Date)
_MAKE_DAY = select(func.make_history_day(_ON_DAY))


def add(connection: Connection, at: datetime, added: Mapping[str, Bytes]) -> None:
    """Add bytes to the day and hour of `at` in the history of keys, by UUID."""
    if not added:
        return
    dialect = connection.dialect.name
    if dialect != "sqlite":
        connection.execute(_MAKE_DAY, {"on_day": at.date()})
    for uuids in in_parts(added):
        connection.execute(_adding(dialect, at.hour), {"on_day": at.date()} | given_bytes(dialect, uuids, added))


@cache
def _adding(dialect: str, hour: int) -> Executable:
    """Return the statement that adds given bytes of keys to an hour of the day `on_day`."""
    more, fresh = given(dialect, BYTES), insert_into(dialect, traffic_history)
    names = (*_SUMS, *_columns_of(hour))
    sums = [more.c[name] for name in _SUMS]
    # In the order of the parts, so that two processes that merge at the same time do not wait for each other for ever.
    rows = (
        select(_ON_DAY, keys.c.number, *sums, *sums)
        .join_from(keys, more, keys.c.uuid == more.c.key_uuid)
        .where(true())
        .order_by(more.c.key_uuid)
    )
    inserted = fresh.from_select([*_PLACE, *names], rows)
    added = {name: func.coalesce(traffic_history.c[name], 0) + fresh.excluded[name] for name in names}
    return inserted.on_conflict_do_update(index_elements=_PLACE, set_=added)


def _columns_of(hour: int) -> tuple[str, ...]:
    return tuple(f"{way}_{hour:02}" for way in _WAYS)


def read(connection: Connection, uuid: str | None, since: datetime, until: datetime) -> Iterator[Point]:
    """Yield what was counted by hour (None: of all keys), from `since` to before `until`; of old days one point each.

    Days and hours without traffic are left out. Both tables may have a point at the same time.
    """
    hours = [traffic_history.c[name] for hour in HOURS for name in _columns_of(hour)]
    for day, *sums in connection.execute(_by_day(hours, uuid, since, until)):
        midnight = datetime.combine(day, time.min)
        for hour, up, down in zip(HOURS, sums[::2], sums[1::2], strict=True):
            if up is not None and since <= midnight.replace(hour=hour) < until:
                yield Point(midnight.replace(hour=hour), Bytes(up, down))
    for day, up, down in connection.execute(_by_day([traffic_days.c[name] for name in _SUMS], uuid, since, until)):
        midnight = datetime.combine(day, time.min)
        if since <= midnight < until:
            yield Point(midnight, Bytes(up, down))


def _by_day(columns: Sequence[Column[int]], uuid: str | None, since: datetime, until: datetime) -> Select[Any]:
    """Return a query for the sums of columns by day."""
    table = columns[0].table.c
    sums = (cast(func.sum(one), BigInteger) for one in columns)
    wanted = select(table.day, *sums).where(table.day >= since.date(), table.day <= until.date())
    if uuid is not None:
        wanted = wanted.where(table.key_number == select(keys.c.number).where(keys.c.uuid == uuid).scalar_subquery())
    return wanted.group_by(table.day).order_by(table.day)


def used_in_hour(connection: Connection, uuid: str, at: datetime) -> int:
    """Return the bytes of a key that are counted in the hour of `at`."""
    up, down = (traffic_history.c[name] for name in _columns_of(at.hour))
    here = select(func.coalesce(up, 0) + func.coalesce(down, 0)).join_from(traffic_history, keys)
    return connection.scalar(here.where(_ROW.day == at.date(), keys.c.uuid == uuid)) or 0


def used_since(connection: Connection, at: datetime, uuids: Collection[str]) -> dict[str, int]:
    """Return what keys have used since the hour `at`, or since the last reset if that was later, without unused ones.

    Days without their hours count as a whole, from the day after the one in which that time lies.
    """
    chosen, are_few = {"at_hour": at, "on_day": at.date()} | of_uuids(uuids), is_few(uuids)
    used: dict[str, int] = {}
    for has_hours in (True, False):
        for uuid, counted in connection.execute(_using(has_hours=has_hours, are_few=are_few), chosen):
            used[uuid] = used.get(uuid, 0) + counted
    for uuid, before in connection.execute(_resetting(are_few=are_few), chosen):
        if uuid in used:
            used[uuid] -= before
    return used


_AT = bindparam("at_hour", type_=DateTime)
_WAS_RESET = _ACCOUNT.reset_hour.is_not(None) & (_ACCOUNT.reset_hour >= _AT)


@cache
def _using(*, has_hours: bool, are_few: bool) -> Executable:
    """Return the statement of `used_since` that reads days with their hours, or those without."""
    start = case((_WAS_RESET, _ACCOUNT.reset_hour), else_=_AT)
    first_day, first_hour = func.date(start, type_=Date), cast(extract("hour", start), BigInteger)
    hours = (
        case((first_hour <= hour, func.coalesce(traffic_history.c[name], 0)), else_=0)
        for hour in HOURS
        for name in _columns_of(hour)
    )
    of_first_day: ColumnElement[int] = sum(hours, literal(0)) if has_hours else literal(0)
    table = (traffic_history if has_hours else traffic_days).c
    whole = or_(table.day > first_day, and_(table.day == first_day, first_hour == 0))
    bytes_ = func.sum(case((whole, table.up_bytes + table.down_bytes), else_=of_first_day))
    return (
        select(keys.c.uuid, cast(bytes_, BigInteger))
        .select_from(keys)
        .join(table.day.table, table.key_number == keys.c.number)
        .join(traffic_accounts, _ACCOUNT.key_uuid == keys.c.uuid, isouter=True)
        .where(
            those(keys.c.uuid, are_few=are_few), table.day >= bindparam("on_day", type_=Date), table.day >= first_day
        )
        .group_by(keys.c.uuid)
    )


@cache
def _resetting(*, are_few: bool) -> Executable:
    """Return the statement of `used_since` that reads what resets took off."""
    chosen = those(_ACCOUNT.key_uuid, are_few=are_few)
    return select(_ACCOUNT.key_uuid, _ACCOUNT.reset_hour_bytes).where(_WAS_RESET, chosen)


def fold(connection: Connection, before: date) -> bool:
    """Store the oldest day of the history as sums without hours, if it is before that day; return whether it was.

    Raises StoreUnavailable where others read the history for longer than a moment.
    """
    if connection.dialect.name != "sqlite":
        return _fold_partition(connection, before)
    day = connection.scalar(select(func.min(_ROW.day)))
    if day is None or day >= before:
        return False
    names = (*_PLACE, *_SUMS)
    rows = select(*(traffic_history.c[name] for name in names)).where(_ROW.day == day)
    fresh = insert_into(connection.dialect.name, traffic_days).from_select(names, rows)
    more = {name: traffic_days.c[name] + fresh.excluded[name] for name in _SUMS}
    connection.execute(fresh.on_conflict_do_update(index_elements=_PLACE, set_=more))
    connection.execute(delete(traffic_history).where(_ROW.day == day))
    return True


def _fold_partition(connection: Connection, before: date) -> bool:
    """Do so on PostgreSQL, where a partition is detached: nobody may read the history at that moment."""
    # A day has a row a key, and may take longer than other statements may.
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {_FOLD_S * 1000}")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(_FOLD_LOCK_S * 1000)}")
    driver: Any = connection.connection.driver_connection
    driver.silent_s = _FOLD_S
    try:
        return bool(connection.scalar(select(func.fold_history_day(before))))
    except DBAPIError as error:
        if cause_of(error) is not Cause.BUSY:
            raise
        msg = "Old hours were not added up, as others read the history, such as a dump; it is tried again by itself."
        raise StoreUnavailable(msg) from error
