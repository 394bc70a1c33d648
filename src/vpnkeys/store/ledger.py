"""The accounts of traffic, inside a write transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Connection, Table, cast, func, insert, select, update

from vpnkeys.domain.traffic import Bytes, Gap, Samples, Traffic, increments
from vpnkeys.store.tables import epochs, keys, traffic_accounts, traffic_hours, traffic_usage


@dataclass(frozen=True, slots=True)
class SqlLedger:
    """Keeps the promises of `interfaces.Ledger` on one connection."""

    _connection: Connection

    def merge(self, samples: Samples, at: datetime) -> None:
        """Take a sample in. Counters of keys that are not there (any more) are left out."""
        self._note_epoch(samples.epoch, at)
        known = {uuid for (uuid,) in self._connection.execute(select(keys.c.uuid))}
        sampled = {uuid: counters for uuid, counters in samples.usage.items() if uuid in known}
        added = increments(self._usage_in(samples.epoch), sampled)
        hour = at.replace(minute=0, second=0, microsecond=0)
        self._add(traffic_usage, {"epoch": samples.epoch}, added)
        self._add(traffic_hours, {"hour": hour}, added)

    def end_epoch(self, epoch: str, at: datetime) -> None:
        """This life of Xray ended in order, after its last sample."""
        ended = {"ended_at": at, "ended_cleanly": True}
        self._connection.execute(update(epochs).where(epochs.c.epoch == epoch).values(ended))

    def traffic(self, uuid: str) -> Traffic:
        """What a key has used since it was made or last reset."""
        base, offset = self._account(uuid)
        return Traffic(base + self._counted(uuid) - offset, self._gaps(uuid))

    def reset(self, uuid: str) -> None:
        """Let the key's total be zero from here on."""
        base, _ = self._account(uuid)
        self._set_account(uuid, base, base + self._counted(uuid))

    def open_account(self, uuid: str, base_bytes: int) -> None:
        """Start a key with bytes that were counted elsewhere."""
        self._set_account(uuid, base_bytes, 0)

    def _gaps(self, uuid: str) -> tuple[Gap, ...]:
        """Lives of Xray that ended unasked while the key was there."""
        born = select(keys.c.created_at).where(keys.c.uuid == uuid).scalar_subquery()
        rows = self._connection.execute(
            select(epochs.c.last_sample_at, epochs.c.ended_at)
            .where(epochs.c.ended_at.is_not(None), epochs.c.ended_cleanly.is_(False), epochs.c.ended_at > born)
            .order_by(epochs.c.ended_at)
        )
        return tuple(Gap(since, until) for since, until in rows)

    def _note_epoch(self, epoch: str, at: datetime) -> None:
        """Remember when this life of Xray was last seen; when it is new, the one before it has ended, unasked.

        A late sample of an earlier life may have come in between and taken this one for ended; it lives, then.
        """
        known = self._connection.execute(select(epochs.c.ended_at).where(epochs.c.epoch == epoch)).first()
        if known is not None:
            alive = {"ended_at": None, "ended_cleanly": None} if known[0] is not None and at > known[0] else {}
            self._connection.execute(update(epochs).where(epochs.c.epoch == epoch).values(last_sample_at=at, **alive))
            return
        crashed = {"ended_at": at, "ended_cleanly": False}
        self._connection.execute(update(epochs).where(epochs.c.ended_at.is_(None)).values(crashed))
        self._connection.execute(insert(epochs).values(epoch=epoch, first_sample_at=at, last_sample_at=at))

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
        table = traffic_usage.c
        total = func.coalesce(func.sum(table.up_bytes + table.down_bytes), 0)
        # PostgreSQL sums bigint to numeric.
        return self._connection.execute(select(cast(total, BigInteger)).where(table.key_uuid == uuid)).scalar_one()

    def _account(self, uuid: str) -> tuple[int, int]:
        table = traffic_accounts.c
        row = self._connection.execute(
            select(table.base_bytes, table.offset_bytes).where(table.key_uuid == uuid)
        ).first()
        return (row[0], row[1]) if row else (0, 0)

    def _set_account(self, uuid: str, base: int, offset: int) -> None:
        values = {"base_bytes": base, "offset_bytes": offset}
        here = traffic_accounts.c.key_uuid == uuid
        if not self._connection.execute(update(traffic_accounts).where(here).values(values)).rowcount:
            self._connection.execute(insert(traffic_accounts).values(key_uuid=uuid, **values))
