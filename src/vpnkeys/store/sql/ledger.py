"""Keeps the accounts of traffic, inside a transaction."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Table,
    case,
    cast,
    delete,
    func,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.dialects import sqlite

from vpnkeys.domain.traffic import NOTHING, Bytes, Gap, Point, Samples, Tally, Total, Traffic, added_up, increments
from vpnkeys.store.sql.tables import epochs, keys, traffic_accounts, traffic_hours, traffic_usage

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

_FEW = 1000
"""More values than this are not put into one statement: databases bound their number."""

_SUM_OF_BYTES = cast(func.sum(traffic_usage.c.up_bytes + traffic_usage.c.down_bytes), BigInteger)
_COUNTED: Select[str, int] = select(traffic_usage.c.key_uuid, _SUM_OF_BYTES).group_by(traffic_usage.c.key_uuid)
_ACCOUNTS = select(
    traffic_accounts.c.key_uuid,
    traffic_accounts.c.base_bytes - traffic_accounts.c.offset_bytes,
    traffic_accounts.c.last_seen_at,
)
_GAPS = (
    select(epochs.c.last_sample_at, epochs.c.ended_at)
    .where(epochs.c.ended_at.is_not(None), epochs.c.ended_cleanly.is_(False))
    .order_by(epochs.c.ended_at)
)


@dataclass(frozen=True, slots=True)
class SqlLedger:
    """Implements `interfaces.Ledger` on one connection; `on_gap` is called for each gap that it finds."""

    _connection: Connection
    on_gap: Callable[[Gap], None] = lambda _gap: None

    def merge(self, samples: Samples, at: datetime) -> None:
        """Merge a sample. Counters of keys that do not exist, or were deleted, are left out."""
        # A key may have been deleted since the reading; its row would break the foreign key and lose the whole sample.
        known = {uuid for (uuid,) in self._connection.execute(select(keys.c.uuid))}
        sampled = {uuid: counters for uuid, counters in samples.usage.items() if uuid in known}
        # Compared with what is stored and not with our own last sample: another process may have merged a newer one.
        added = increments(self._usage_in(samples.epoch, sampled), sampled)
        self._note_epoch(samples.epoch, at, grew=bool(added))
        self._add(traffic_usage, {"epoch": samples.epoch}, added)
        self._add(traffic_hours, {"hour": _hour_of(at)}, added)
        self._note_seen(added, at)

    def end_epoch(self, epoch: str, at: datetime) -> None:
        """Store that this epoch (life of Xray) ended in order, after its last sample."""
        ended = {"ended_at": at, "ended_cleanly": True}
        self._connection.execute(update(epochs).where(epochs.c.epoch == epoch).values(ended))

    def counted(self, epoch: str, uuid: str) -> Bytes:
        """Return the bytes of a key that were counted in an epoch."""
        table = traffic_usage.c
        wanted = select(table.up_bytes, table.down_bytes).where(table.epoch == epoch, table.key_uuid == uuid)
        row = self._connection.execute(wanted).first()
        return NOTHING if row is None else Bytes(*row)

    def traffic(self, uuid: str) -> Traffic:
        """Return what a key has used since it was made or last reset."""
        return self.traffic_of([uuid])[uuid]

    def traffic_of(self, uuids: Collection[str]) -> dict[str, Traffic]:
        """Return what several keys have used, by UUID, in a fixed number of queries."""
        usage, account = traffic_usage.c, traffic_accounts.c
        counted = dict(self._connection.execute(_COUNTED.where(usage.key_uuid.in_(uuids))).all())
        rows = self._connection.execute(_ACCOUNTS.where(account.key_uuid.in_(uuids)))
        accounts = {uuid: (base, seen_at) for uuid, base, seen_at in rows}
        gaps = self._gaps(uuids)
        found = {}
        for uuid in uuids:
            base, seen_at = accounts.get(uuid, (0, None))
            found[uuid] = Traffic(base + counted.get(uuid, 0), gaps.get(uuid, ()), seen_at)
        return found

    def totals(self) -> dict[str, Total]:
        """Return what each key has used, by UUID, without the gaps; keys that were never used are left out."""
        counted = dict(self._connection.execute(_COUNTED).all())
        rows = self._connection.execute(_ACCOUNTS)
        return {uuid: Total(counted.get(uuid, 0) + base, last_seen_at) for uuid, base, last_seen_at in rows}

    def tally(self) -> Tally:
        """Return the bytes ever counted of each existing key, the number of gaps, and the time of the last sample."""
        usage = traffic_usage.c
        up, down = (cast(func.sum(column), BigInteger) for column in (usage.up_bytes, usage.down_bytes))
        sums = self._connection.execute(select(usage.key_uuid, up, down).group_by(usage.key_uuid))
        crashed = epochs.c.ended_at.is_not(None) & epochs.c.ended_cleanly.is_(False)
        return Tally(
            by_key={uuid: Bytes(*counted) for uuid, *counted in sums},
            gaps=self._connection.execute(select(func.count()).select_from(epochs).where(crashed)).scalar_one(),
            sampled_at=self._connection.execute(select(func.max(epochs.c.last_sample_at))).scalar_one(),
        )

    def history(self, uuid: str | None, since: datetime, until: datetime) -> tuple[Point, ...]:
        """Return what was counted by hour, from the hour of `since` to before `until`; None: of all keys."""
        table = traffic_hours.c
        wanted = select(table.hour, table.up_bytes, table.down_bytes)
        wanted = wanted.where(table.hour >= _hour_of(since), table.hour < until)
        if uuid is not None:
            wanted = wanted.where(table.key_uuid == uuid)
        return added_up(Point(hour, Bytes(up, down)) for hour, up, down in self._connection.execute(wanted))

    def fold_into_days(self, before: datetime) -> None:
        """Merge the hours before `before`, a midnight, into one row a day, that of its first hour."""
        table = traffic_hours.c
        old = select(table.key_uuid, table.hour, table.up_bytes, table.down_bytes).where(table.hour < before)
        # Read to the end first: rows are changed below. The first hour stays, and the others are added to it.
        rows = [row for row in self._connection.execute(old) if row.hour.hour != 0]
        for uuid, hour, up, down in rows:
            self._connection.execute(delete(traffic_hours).where(table.key_uuid == uuid, table.hour == hour))
            self._add(traffic_hours, {"hour": hour.replace(hour=0)}, {uuid: Bytes(up, down)})

    def reset(self, uuid: str, at: datetime) -> None:
        """Let the key's total be zero from now on. Counters stay: what they hold becomes an offset."""
        base, _ = self._account(uuid)
        hour = _hour_of(at)
        here = (traffic_hours.c.key_uuid == uuid) & (traffic_hours.c.hour == hour)
        self._set_account(
            uuid,
            base_bytes=base,
            offset_bytes=base + self._counted(uuid),
            reset_hour=hour,
            reset_hour_bytes=self._sum(traffic_hours, here),
        )

    def used_bytes(self, since: Mapping[str, datetime | None], fresh: Iterable[Samples] = ()) -> dict[str, int]:
        """Return what keys have used since a time each, by UUID, with `fresh` as if they were merged already."""
        by_time: dict[datetime | None, list[str]] = {}
        for uuid, at in since.items():
            by_time.setdefault(at, []).append(uuid)
        used = dict.fromkeys(since, 0)
        for at, uuids in by_time.items():
            found = self._used_ever(uuids) if at is None else self._used_since(at, uuids)
            used |= {uuid: found[uuid] for uuid in uuids if uuid in found}
        for samples in fresh:
            sampled = {uuid: counters for uuid, counters in samples.usage.items() if uuid in since}
            for uuid, more in increments(self._usage_in(samples.epoch, sampled), sampled).items():
                used[uuid] += more.total
        return used

    def _used_ever(self, uuids: Collection[str]) -> dict[str, int]:
        """Return what keys have used since they were made or last reset; those without an account are left out."""
        counted = dict(self._connection.execute(_COUNTED.where(_among(traffic_usage.c.key_uuid, uuids))).all())
        rows = self._connection.execute(_ACCOUNTS.where(_among(traffic_accounts.c.key_uuid, uuids)))
        return {uuid: base + counted.get(uuid, 0) for uuid, base, _ in rows}

    def _used_since(self, at: datetime, uuids: Collection[str]) -> dict[str, int]:
        """Return what keys have used since `at`, or since the last reset if that was later, without unused ones."""
        account, table = traffic_accounts.c, traffic_hours.c
        was_reset = account.reset_hour.is_not(None) & (account.reset_hour >= at)
        before_reset = case((was_reset, account.reset_hour_bytes), else_=0)
        # A group is one key, whose account is one row.
        sums = (
            select(
                table.key_uuid, cast(func.sum(table.up_bytes + table.down_bytes) - func.max(before_reset), BigInteger)
            )
            .select_from(traffic_hours.join(traffic_accounts, account.key_uuid == table.key_uuid, isouter=True))
            .where(_among(table.key_uuid, uuids), table.hour >= case((was_reset, account.reset_hour), else_=at))
            .group_by(table.key_uuid)
        )
        return dict(self._connection.execute(sums).all())

    def open_account(self, uuid: str, base_bytes: int) -> None:
        """Start a key with bytes that another server counted."""
        self._set_account(uuid, base_bytes=base_bytes, offset_bytes=0)

    def start_from(self, samples: Samples) -> None:
        """Start keys at these counters, which deleted keys of the same UUIDs left in Xray: their bytes do not count."""
        # Not through `merge`: these bytes belong to no hour of the new keys.
        self._add(traffic_usage, {"epoch": samples.epoch}, samples.usage)
        for uuid, left in samples.usage.items():
            self._set_account(uuid, offset_bytes=left.total)

    def _gaps(self, uuids: Collection[str]) -> dict[str, tuple[Gap, ...]]:
        """Return, by UUID, the gaps that lie in a key's life: epochs of Xray that ended without a last sample."""
        gaps = [Gap(since, until) for since, until in self._connection.execute(_GAPS)]
        if not gaps:
            return {}
        born = self._connection.execute(select(keys.c.uuid, keys.c.created_at).where(keys.c.uuid.in_(uuids)))
        return {uuid: tuple(gap for gap in gaps if gap.until > at) for uuid, at in born}

    def _note_epoch(self, epoch: str, at: datetime, *, grew: bool) -> None:
        """Store that this epoch was seen at this time; any other open epoch has ended without a last sample.

        A late sample of an earlier epoch may have been merged in between and have ended this one; then it is open
        again. An epoch that we ended ourselves may still answer for a moment: it is open again only when it goes on
        counting (`grew`).
        """
        columns = epochs.c.ended_at, epochs.c.ended_cleanly, epochs.c.last_sample_at
        known = self._connection.execute(select(*columns).where(epochs.c.epoch == epoch)).first()
        others = epochs.c.ended_at.is_(None) & (epochs.c.epoch != epoch)
        if known is None:
            self._note_gaps(others, at)
            self._connection.execute(insert(epochs).values(epoch=epoch, first_sample_at=at, last_sample_at=at))
            return
        ended_at, cleanly, last = known
        here = update(epochs).where(epochs.c.epoch == epoch)
        if ended_at is not None and (at <= ended_at or (cleanly and not grew)):
            self._connection.execute(here.values(last_sample_at=max(last, at)))
            return
        self._connection.execute(here.values(last_sample_at=at, ended_at=None, ended_cleanly=None))
        self._note_gaps(others & (epochs.c.last_sample_at < at), at)

    def _note_gaps(self, others: ColumnElement[bool], at: datetime) -> None:
        """Store that these epochs have ended without a last sample, and report the gaps."""
        gaps = [Gap(last, at) for (last,) in self._connection.execute(select(epochs.c.last_sample_at).where(others))]
        if gaps:
            crashed = {"ended_at": at, "ended_cleanly": False}
            self._connection.execute(update(epochs).where(others).values(crashed))
        for gap in gaps:
            self.on_gap(gap)

    def _usage_in(self, epoch: str, uuids: Collection[str]) -> dict[str, Bytes]:
        table = traffic_usage.c
        here = (table.epoch == epoch) & _among(table.key_uuid, uuids)
        rows = self._connection.execute(select(table.key_uuid, table.up_bytes, table.down_bytes).where(here))
        return {uuid: Bytes(up, down) for uuid, up, down in rows}

    def _add(self, table: Table, place: Mapping[str, object], added: Mapping[str, Bytes]) -> None:
        """Add bytes to the rows of this place (an epoch or an hour); missing rows are made."""
        rows = [{"key_uuid": uuid, "up_bytes": up, "down_bytes": down, **place} for uuid, (up, down) in added.items()]
        if not rows:
            return
        fresh = insert_into(self._connection, table)
        more = {name: table.c[name] + fresh.excluded[name] for name in ("up_bytes", "down_bytes")}
        # All rows in one go: a statement each would take seconds for thousands of keys (measured).
        self._connection.execute(fresh.on_conflict_do_update(index_elements=list(table.primary_key), set_=more), rows)

    def _note_seen(self, uuids: Iterable[str], at: datetime) -> None:
        rows = [{"key_uuid": uuid, "base_bytes": 0, "offset_bytes": 0, "last_seen_at": at} for uuid in uuids]
        if not rows:
            return
        fresh = insert_into(self._connection, traffic_accounts)
        seen = {"last_seen_at": fresh.excluded.last_seen_at}
        self._connection.execute(fresh.on_conflict_do_update(index_elements=["key_uuid"], set_=seen), rows)

    def _counted(self, uuid: str) -> int:
        return self._sum(traffic_usage, traffic_usage.c.key_uuid == uuid)

    def _sum(self, table: Table, where: ColumnElement[bool]) -> int:
        total = func.coalesce(func.sum(table.c.up_bytes + table.c.down_bytes), 0)
        # PostgreSQL sums bigint to numeric, which arrives as a Decimal.
        return self._connection.execute(select(cast(total, BigInteger)).where(where)).scalar_one()

    def _account(self, uuid: str) -> tuple[int, int]:
        table = traffic_accounts.c
        row = self._connection.execute(
            select(table.base_bytes, table.offset_bytes).where(table.key_uuid == uuid)
        ).first()
        return (row[0], row[1]) if row else (0, 0)

    def _set_account(self, uuid: str, **values: object) -> None:
        here = traffic_accounts.c.key_uuid == uuid
        # The write lock is held, so that no other writer can add the row between these two statements.
        if not self._connection.execute(update(traffic_accounts).where(here).values(values)).rowcount:
            fresh = {"base_bytes": 0, "offset_bytes": 0, **values}
            self._connection.execute(insert(traffic_accounts).values(key_uuid=uuid, **fresh))


def insert_into(connection: Connection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """Return an INSERT that can have ON CONFLICT, which SQLAlchemy has only in the two databases' own dialects."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - takes a tenth of the whole start

    return postgresql.insert(table)


def _among(column: ColumnElement[str], uuids: Collection[str]) -> ColumnElement[bool]:
    """Return a condition that leaves out most rows of other keys; all are read when many keys are asked for."""
    return column.in_(uuids) if len(uuids) <= _FEW else true()


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
