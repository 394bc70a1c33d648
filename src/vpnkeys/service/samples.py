"""Samples of traffic that the database has not taken yet: limits know them, and no byte of them is lost."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from vpnkeys.domain.errors import StoreUnavailable, WaitsElsewhere
from vpnkeys.domain.traffic import NOTHING, Bytes, EpochSample, Samples, Traffic, increments
from vpnkeys.interfaces import Ledger, Store

_EPOCHS_KNOWN = 2
_WHOLE_EVERY_S = 30.0


def _joined(earlier: Samples, later: Samples) -> Samples:
    """Return a later sample of the same epoch, which may be of some keys only, completed by an earlier one."""
    return replace(later, usage={**earlier.usage, **later.usage})


def _completed(later: EpochSample, earlier: Samples) -> EpochSample:
    return later._replace(samples=_joined(earlier, later.samples))


def _only(usage: Mapping[str, Bytes], accounts: Collection[str]) -> dict[str, Bytes]:
    return {uuid: counters for uuid, counters in usage.items() if uuid in accounts}


@dataclass(slots=True)
class UnstoredSamples:
    """Keeps the last sample of each epoch from its reading until the commit that stores it.

    How much of a sample is counted already is read from the database each time, because another process may have
    counted the same bytes meanwhile.
    """

    store: Store
    now: Callable[[], float] = time.monotonic
    _whole_at: float = field(default=float("-inf"), init=False)
    _kept: tuple[EpochSample, ...] = field(default=(), init=False)
    _stored: dict[str, Samples] = field(default_factory=dict, init=False)
    _used: dict[str, int] = field(default_factory=dict, init=False)

    def keep(self, samples: Samples, at: datetime, *, has_ended: bool = False) -> None:
        """Keep a sample that was read at this time, with what an earlier one of its epoch has of other keys."""
        others = tuple(kept for kept in self._kept if kept.samples.epoch != samples.epoch)
        for earlier in self._kept:
            if earlier.samples.epoch == samples.epoch:
                samples = _joined(earlier.samples, samples)
        self._kept = (*others, EpochSample(samples, at, has_ended))

    def of(self, accounts: Collection[str], fresh: Iterable[EpochSample] = ()) -> tuple[EpochSample, ...]:
        """Return what the samples have of these users, and `fresh`, which are not kept yet."""
        latest = {kept.samples.epoch: kept for kept in self._kept}
        for newer in fresh:
            known = latest.get(newer.samples.epoch)
            latest[newer.samples.epoch] = newer if known is None else _completed(newer, known.samples)
        return tuple(
            one._replace(samples=replace(one.samples, usage=_only(one.samples.usage, accounts)))
            for one in latest.values()
            if not one.samples.usage.keys().isdisjoint(accounts)
        )

    def merge(self, ledger: Ledger) -> None:
        """Merge the samples, oldest first. The caller calls `forget` after the commit, which may still fail.

        Counters that were stored before are left out but once in a while: a database that failed over may have lost
        them.
        """
        is_whole = self.now() >= self._whole_at
        for samples, at, has_ended in self._kept:
            ledger.merge(samples if is_whole else self._new_in(samples), at)
            if has_ended:
                ledger.end_epoch(samples.epoch, at, samples.node_id)

    def _new_in(self, samples: Samples) -> Samples:
        """Return the counters of a sample that are not those that were stored last in its epoch."""
        stored = self._stored.get(samples.epoch)
        if stored is None or stored.node_id != samples.node_id:
            return samples
        known = stored.usage
        return replace(samples, usage={one: used for one, used in samples.usage.items() if known.get(one) != used})

    def doubt(self) -> None:
        """Merge all counters the next time: a commit failed, and the database may be another one afterwards."""
        self._whole_at = float("-inf")

    def forget(self) -> None:
        """Note that the commit succeeded."""
        if (now := self.now()) >= self._whole_at:
            self._whole_at = now + _WHOLE_EVERY_S
        for samples, *_ in self._kept:
            known = self._stored.pop(samples.epoch, None)
            self._stored[samples.epoch] = samples if known is None else _joined(known, samples)
        for epoch in [*self._stored][:-_EPOCHS_KNOWN]:
            del self._stored[epoch]
        self._kept = ()

    def used_bytes(self, since: Mapping[str, datetime | None], fresh: Iterable[Samples] = ()) -> Mapping[str, int]:
        """Return what `Store.used_bytes` does, with these samples too; `fresh` may be of some keys only.

        While a database elsewhere is silent: what it said last, and what came since. Raises StoreUnavailable, and
        WaitsElsewhere where the calling thread may not wait for the database.
        """
        if not self.store.may_wait():
            raise WaitsElsewhere("The database is elsewhere, and what this needs was not read before.")
        latest = {kept.samples.epoch: kept.samples for kept in self._kept}
        for samples in fresh:
            known = latest.get(samples.epoch)
            latest[samples.epoch] = samples if known is None else _joined(known, samples)
        try:
            used = self.store.used_bytes(since, latest.values())
        except StoreUnavailable:
            if not self.store.is_remote:
                raise
            return {uuid: self._used.get(uuid, 0) + self._since_stored(uuid, latest.values()) for uuid in since}
        self._used |= {uuid: total - self._since_stored(uuid, latest.values()) for uuid, total in used.items()}
        return used

    def _since_stored(self, uuid: str, latest: Iterable[Samples]) -> int:
        """Return by how much these samples exceed the last ones that were stored, where there are any of the key."""
        more = 0
        for samples in latest:
            stored = self._stored.get(samples.epoch)
            if stored is not None and uuid in stored.usage and uuid in samples.usage:
                more += increments(stored.usage, {uuid: samples.usage[uuid]}).get(uuid, NOTHING).total
        return more

    def traffic_of(self, uuids: Collection[str]) -> Mapping[str, Traffic]:
        """Return what keys have used, by UUID. Raises StoreUnavailable."""
        stored = self.store.traffic_of(uuids)
        return {uuid: self._with_unstored(uuid, traffic) for uuid, traffic in stored.items()}

    def _with_unstored(self, uuid: str, traffic: Traffic) -> Traffic:
        more = self._unstored_bytes(uuid)
        if not more:
            return traffic
        return replace(traffic, total_bytes=traffic.total_bytes + more, last_seen_at=self._kept[-1].at)

    def _unstored_bytes(self, uuid: str) -> int:
        sampled = [kept.samples for kept in self._kept if uuid in kept.samples.usage]
        return sum(self._more_bytes(samples, uuid) for samples in sampled)

    def _more_bytes(self, samples: Samples, uuid: str) -> int:
        seen = {uuid: self.store.counted(samples.epoch, uuid, samples.node_id)}
        return increments(seen, {uuid: samples.usage[uuid]}).get(uuid, NOTHING).total
