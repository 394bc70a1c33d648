"""Keeps the accounts of traffic, inside a transaction."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Select,
    Table,
    cast,
    func,
    insert,
    select,
    update,
)

from vpnkeys.domain.nodes import LOCAL
from vpnkeys.domain.traffic import (
    NOTHING,
    Bytes,
    EpochSample,
    Gap,
    Point,
    Samples,
    Tally,
    Total,
    Traffic,
    added_up,
    gaps_of,
    increments,
    sum_of,
)
from vpnkeys.store.sql import history
from vpnkeys.store.sql.bulk import among, is_few, note_seen, of_uuids, raise_counters, those
from vpnkeys.store.sql.nodes import lives
from vpnkeys.store.sql.tables import epochs, keys, traffic_accounts, traffic_usage

_SUM_OF_BYTES = cast(func.sum(traffic_usage.c.up_bytes + traffic_usage.c.down_bytes), BigInteger)
_USAGE = traffic_usage.c
_COUNTED: Select[str, int] = select(traffic_usage.c.key_uuid, _SUM_OF_BYTES).group_by(traffic_usage.c.key_uuid)
_ACCOUNTS = select(
    traffic_accounts.c.key_uuid,
    traffic_accounts.c.base_bytes - traffic_accounts.c.offset_bytes,
    traffic_accounts.c.last_seen_at,
)
_USED_EVER = {
    few: (
        _COUNTED.where(those(traffic_usage.c.key_uuid, are_few=few)),
        _ACCOUNTS.where(those(traffic_accounts.c.key_uuid, are_few=few)),
    )
    for few in (False, True)
}
_GAPS = (
    select(epochs.c.node_id, epochs.c.epoch, epochs.c.last_sample_at, epochs.c.ended_at)
    .where(epochs.c.ended_at.is_not(None), epochs.c.ended_cleanly.is_(False))
    .order_by(epochs.c.ended_at)
)


def _counted_by(column: Column[Any]) -> Select[Any]:
    """Return a query for the bytes counted of the keys that exist, by one of the columns."""
    sums = (cast(func.sum(one), BigInteger) for one in (_USAGE.up_bytes, _USAGE.down_bytes))
    return select(column, *sums).group_by(column)


_BY_KEY, _OF_KEYS_BY_NODE = _counted_by(_USAGE.key_uuid), _counted_by(_USAGE.node_id)


@dataclass(frozen=True, slots=True)
class SqlLedger:
    """Implements `interfaces.Ledger` on one connection; `on_gap` is called for each gap, with the node's id."""

    _connection: Connection
    on_gap: Callable[[Gap, int], None] = lambda _gap, _node_id: None

    def merge(self, samples: Samples, at: datetime) -> dict[str, Bytes]:
        """Merge a sample; return what it added. Counters of keys that do not exist, or were deleted, are left out."""
        added = raise_counters(self._connection, samples)
        for gap in lives.note(self._connection, samples, at, sum_of(added.values())):
            self.on_gap(gap, samples.node_id)
        history.add(self._connection, at, added)
        note_seen(self._connection, added, at)
        return added

    def end_epoch(self, epoch: str, at: datetime, node_id: int = LOCAL.id) -> None:
        """Store that this epoch (life of a node's Xray) ended in order, after its last sample."""
        lives.end(self._connection, node_id, epoch, at)

    def counted(self, epoch: str, uuid: str, node_id: int = LOCAL.id) -> Bytes:
        """Return the bytes of a key that were counted in an epoch of a node."""
        return self._usage_in(Samples(epoch, {}, node_id), [uuid]).get(uuid, NOTHING)

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
        """Return all that was ever merged."""
        return lives.tally(self._connection)

    def counted_by_key(self) -> dict[str, Bytes]:
        """Return the bytes ever counted of each existing key, by UUID."""
        return {uuid: Bytes(up, down) for uuid, up, down in self._connection.execute(_BY_KEY)}

    def counted_by_node(self) -> dict[int, Bytes]:
        """Return the bytes ever counted on each node, by its id, of the keys that exist."""
        return {node_id: Bytes(up, down) for node_id, up, down in self._connection.execute(_OF_KEYS_BY_NODE)}

    def history(self, uuid: str | None, since: datetime, until: datetime) -> tuple[Point, ...]:
        """Return what was counted by hour, from the hour of `since` to before `until`; None: of all keys."""
        return added_up(history.read(self._connection, uuid, _hour_of(since), until))

    def lives(self, node_id: int = LOCAL.id) -> tuple[EpochSample, ...]:
        """Return all counters of a node, by the life of its Xray, oldest first."""
        usage: dict[str, dict[str, Bytes]] = {}
        table = traffic_usage.c
        counted = select(table.epoch, table.key_uuid, table.up_bytes, table.down_bytes).where(table.node_id == node_id)
        for epoch, uuid, up, down in self._connection.execute(counted):
            usage.setdefault(epoch, {})[uuid] = Bytes(up, down)
        wanted = select(epochs.c.epoch, epochs.c.last_sample_at, epochs.c.ended_cleanly)
        rows = self._connection.execute(wanted.where(epochs.c.node_id == node_id).order_by(epochs.c.first_sample_at))
        return tuple(
            EpochSample(Samples(epoch, usage.get(epoch, {}), node_id), at, has_ended=bool(in_order))
            for epoch, at, in_order in rows
        )

    def fold_into_days(self, before: datetime) -> bool:
        """Keep only the sum of the oldest day before `before`, a midnight; return whether there was one."""
        return history.fold(self._connection, before.date())

    def reset(self, uuid: str, at: datetime) -> None:
        """Let the key's total be zero from now on. Counters stay: what they hold becomes an offset."""
        base, _ = self._account(uuid)
        self._set_account(
            uuid,
            base_bytes=base,
            offset_bytes=base + self._counted(uuid),
            reset_hour=_hour_of(at),
            reset_hour_bytes=history.used_in_hour(self._connection, uuid, at),
        )

    def used_bytes(self, since: Mapping[str, datetime | None], fresh: Iterable[Samples] = ()) -> dict[str, int]:
        """Return what keys have used since a time each, by UUID, with `fresh` as if they were merged already."""
        by_time: dict[datetime | None, list[str]] = {}
        for uuid, at in since.items():
            by_time.setdefault(at, []).append(uuid)
        used = dict.fromkeys(since, 0)
        for at, uuids in by_time.items():
            found = self._used_ever(uuids) if at is None else history.used_since(self._connection, at, uuids)
            used |= {uuid: found[uuid] for uuid in uuids if uuid in found}
        for samples in fresh:
            sampled = {uuid: counters for uuid, counters in samples.usage.items() if uuid in since}
            for uuid, more in increments(self._usage_in(samples, sampled), sampled).items():
                used[uuid] += more.total
        return used

    def _used_ever(self, uuids: Collection[str]) -> dict[str, int]:
        """Return what keys have used since they were made or last reset; those without an account are left out."""
        counted_of, accounts_of, chosen = *_USED_EVER[is_few(uuids)], of_uuids(uuids)
        counted = dict(self._connection.execute(counted_of, chosen).all())
        rows = self._connection.execute(accounts_of, chosen)
        return {uuid: base + counted.get(uuid, 0) for uuid, base, _ in rows}

    def open_account(self, uuid: str, base_bytes: int, counts_at: datetime | None = None) -> None:
        """Start a key with bytes that another server counted; with `counts_at`, they are in the windows of then."""
        self._set_account(uuid, base_bytes=base_bytes, offset_bytes=0)
        if counts_at is not None and base_bytes:
            history.add(self._connection, counts_at, {uuid: Bytes(0, base_bytes)})

    def count_elsewhere(self, uuid: str, more_bytes: int, counts_at: datetime | None = None) -> None:
        """Add bytes that another server counted to a key's total, or to the windows of `counts_at` alone."""
        if counts_at is None:
            base, offset = self._account(uuid)
            self._set_account(uuid, base_bytes=base + more_bytes, offset_bytes=offset)
        elif more_bytes:
            history.add(self._connection, counts_at, {uuid: Bytes(0, more_bytes)})

    def start_from(self, samples: Samples) -> None:
        """Start keys at these counters, which deleted keys of the same UUIDs left in Xray: their bytes do not count."""
        # Not through `merge`: these bytes belong to no hour of the new keys.
        raise_counters(self._connection, samples)
        for uuid, left in samples.usage.items():
            self._set_account(uuid, offset_bytes=left.total)

    def _gaps(self, uuids: Collection[str]) -> dict[str, tuple[Gap, ...]]:
        """Return, by UUID, the gaps in which a key may have lost bytes: epochs that ended without a last sample.

        Those of its node since it has lived there, and those of epochs in which it was counted: it may have moved.
        """
        gaps = [
            ((node_id, epoch), Gap(since, until)) for node_id, epoch, since, until in self._connection.execute(_GAPS)
        ]
        if not gaps:
            return {}
        usage = select(traffic_usage.c.key_uuid, traffic_usage.c.node_id, traffic_usage.c.epoch)
        counted: dict[str, set[tuple[int, str]]] = {}
        for uuid, *life in self._connection.execute(usage.where(traffic_usage.c.key_uuid.in_(uuids))):
            counted.setdefault(uuid, set()).add((life[0], life[1]))
        wanted = select(keys.c.uuid, keys.c.node_id, keys.c.created_at, keys.c.port_assigned_at)
        return {
            uuid: gaps_of(gaps, counted.get(uuid, set()), node_id, born, placed_at)
            for uuid, node_id, born, placed_at in self._connection.execute(wanted.where(keys.c.uuid.in_(uuids)))
        }

    def _usage_in(self, life: Samples, uuids: Collection[str]) -> dict[str, Bytes]:
        """Return the bytes of keys that were counted in the epoch of these samples, without those that have none."""
        table = traffic_usage.c
        here = (table.node_id == life.node_id) & (table.epoch == life.epoch) & among(table.key_uuid, uuids)
        rows = self._connection.execute(select(table.key_uuid, table.up_bytes, table.down_bytes).where(here))
        return {uuid: Bytes(up, down) for uuid, up, down in rows}

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


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
