"""The accounts of traffic, inside a write transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, ColumnElement, Connection, Table, cast, delete, func, insert, select, update

from vpnkeys.domain.traffic import Bytes, Gap, Point, Samples, Traffic, increments
from vpnkeys.store.tables import epochs, keys, traffic_accounts, traffic_hours, traffic_usage


@dataclass(frozen=True, slots=True)
class SqlLedger:
    """Keeps the promises of `interfaces.Ledger` on one connection."""

    _connection: Connection

    def merge(self, samples: Samples, at: datetime) -> None:
        """Take a sample in. Counters of keys that are not there (any more) are left out."""
        known = {uuid for (uuid,) in self._connection.execute(select(keys.c.uuid))}
        sampled = {uuid: counters for uuid, counters in samples.usage.items() if uuid in known}
        added = increments(self._usage_in(samples.epoch), sampled)
        self._note_epoch(samples.epoch, at, grew=bool(added))
        self._add(traffic_usage, {"epoch": samples.epoch}, added)
        self._add(traffic_hours, {"hour": _hour_of(at)}, added)
        for uuid in added:
            self._set_account(uuid, last_seen_at=at)

    def end_epoch(self, epoch: str, at: datetime) -> None:
        """This life of Xray ended in order, after its last sample."""
        ended = {"ended_at": at, "ended_cleanly": True}
        self._connection.execute(update(epochs).where(epochs.c.epoch == epoch).values(ended))

    def traffic(self, uuid: str) -> Traffic:
        """What a key has used since it was made or last reset."""
        account = traffic_accounts.c
        row = self._connection.execute(select(account.last_seen_at).where(account.key_uuid == uuid)).first()
        base, offset = self._account(uuid)
        return Traffic(base + self._counted(uuid) - offset, self._gaps(uuid), row[0] if row else None)

    def history(self, uuid: str, since: datetime, until: datetime) -> tuple[Point, ...]:
        """What was counted by hour, from the hour of `since` to before `until`."""
        table = traffic_hours.c
        rows = self._connection.execute(
            select(table.hour, table.up_bytes, table.down_bytes)
            .where(table.key_uuid == uuid, table.hour >= _hour_of(since), table.hour < until)
            .order_by(table.hour)
        )
        return tuple(Point(hour, Bytes(up, down)) for hour, up, down in rows)

    def fold_into_days(self, before: datetime) -> None:
        """Add the hours before a midnight up to days, which are kept in their first hour."""
        table = traffic_hours.c
        old = select(table.key_uuid, table.hour, table.up_bytes, table.down_bytes).where(table.hour < before)
        rows = [row for row in self._connection.execute(old) if row.hour.hour != 0]
        for uuid, hour, up, down in rows:
            self._connection.execute(delete(traffic_hours).where(table.key_uuid == uuid, table.hour == hour))
            self._add(traffic_hours, {"hour": hour.replace(hour=0)}, {uuid: Bytes(up, down)})

    def reset(self, uuid: str, at: datetime) -> None:
        """Let the key's total be zero from here on."""
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

    def used_bytes(self, uuid: str, since: datetime | None) -> int:
        """What a key has used since an hour, or since its last reset if that was later."""
        if since is None:
            return self.traffic(uuid).total_bytes
        account, table = traffic_accounts.c, traffic_hours.c
        row = self._connection.execute(
            select(account.reset_hour, account.reset_hour_bytes).where(account.key_uuid == uuid)
        ).first()
        reset_hour, before_reset = row if row is not None and row[0] is not None and row[0] >= since else (since, 0)
        return self._sum(traffic_hours, (table.key_uuid == uuid) & (table.hour >= reset_hour)) - before_reset

    def open_account(self, uuid: str, base_bytes: int) -> None:
        """Start a key with bytes that were counted elsewhere."""
        self._set_account(uuid, base_bytes=base_bytes, offset_bytes=0)

    def _gaps(self, uuid: str) -> tuple[Gap, ...]:
        """Lives of Xray that ended unasked while the key was there."""
        born = select(keys.c.created_at).where(keys.c.uuid == uuid).scalar_subquery()
        rows = self._connection.execute(
            select(epochs.c.last_sample_at, epochs.c.ended_at)
            .where(epochs.c.ended_at.is_not(None), epochs.c.ended_cleanly.is_(False), epochs.c.ended_at > born)
            .order_by(epochs.c.ended_at)
        )
        return tuple(Gap(since, until) for since, until in rows)

    def _note_epoch(self, epoch: str, at: datetime, *, grew: bool) -> None:
        """Remember when this life of Xray was last seen; one that was seen before it has ended, unasked.

        A late sample of an earlier life may have come in between and taken this one for ended; it lives, then. One
        that we ended ourselves may still answer for a moment: only one that goes on counting (`grew`) lives after all.
        """
        columns = epochs.c.ended_at, epochs.c.ended_cleanly, epochs.c.last_sample_at
        known = self._connection.execute(select(*columns).where(epochs.c.epoch == epoch)).first()
        others = epochs.c.ended_at.is_(None) & (epochs.c.epoch != epoch)
        crashed = {"ended_at": at, "ended_cleanly": False}
        if known is None:
            self._connection.execute(update(epochs).where(others).values(crashed))
            self._connection.execute(insert(epochs).values(epoch=epoch, first_sample_at=at, last_sample_at=at))
            return
        ended_at, cleanly, last = known
        here = update(epochs).where(epochs.c.epoch == epoch)
        if ended_at is not None and (at <= ended_at or (cleanly and not grew)):
            self._connection.execute(here.values(last_sample_at=max(last, at)))
            return
        self._connection.execute(here.values(last_sample_at=at, ended_at=None, ended_cleanly=None))
        self._connection.execute(update(epochs).where(others, epochs.c.last_sample_at < at).values(crashed))

    def _usage_in(self, epoch: str) -> dict[str, Bytes]:
        table = traffic_usage.c
        rows = self._connection.execute(
            select(table.key_uuid, table.up_bytes, table.down_bytes).where(table.epoch == epoch)
        )
        return {uuid: Bytes(up, down) for uuid, up, down in rows}

    def _add(self, table: Table, place: Mapping[str, object], added: Mapping[str, Bytes]) -> None:
        """Add to the rows of this place (an epoch, an hour), which are made where they are missing."""
        (column, value), *_ = place.items()
        here = table.c[column] == value
        present = {uuid for (uuid,) in self._connection.execute(select(table.c.key_uuid).where(here))}
        for uuid, count in added.items():
            if uuid in present:
                self._connection.execute(
                    update(table)
                    .where(here, table.c.key_uuid == uuid)
                    .values(up_bytes=table.c.up_bytes + count.up, down_bytes=table.c.down_bytes + count.down)
                )
            else:
                self._connection.execute(
                    insert(table).values(key_uuid=uuid, up_bytes=count.up, down_bytes=count.down, **place)
                )

    def _counted(self, uuid: str) -> int:
        return self._sum(traffic_usage, traffic_usage.c.key_uuid == uuid)

    def _sum(self, table: Table, where: ColumnElement[bool]) -> int:
        total = func.coalesce(func.sum(table.c.up_bytes + table.c.down_bytes), 0)
        # PostgreSQL sums bigint to numeric.
        return self._connection.execute(select(cast(total, BigInteger)).where(where)).scalar_one()

    def _account(self, uuid: str) -> tuple[int, int]:
        table = traffic_accounts.c
        row = self._connection.execute(
            select(table.base_bytes, table.offset_bytes).where(table.key_uuid == uuid)
        ).first()
        return (row[0], row[1]) if row else (0, 0)

    def _set_account(self, uuid: str, **values: object) -> None:
        here = traffic_accounts.c.key_uuid == uuid
        if not self._connection.execute(update(traffic_accounts).where(here).values(values)).rowcount:
            fresh = {"base_bytes": 0, "offset_bytes": 0, **values}
            self._connection.execute(insert(traffic_accounts).values(key_uuid=uuid, **fresh))


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
