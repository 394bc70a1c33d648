"""Samples of traffic that the database has not taken yet: limits know them, and no byte of them is lost."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from vpnkeys.domain.traffic import NOTHING, Samples, Traffic, increments
from vpnkeys.interfaces import Ledger, Store


def _joined(earlier: Samples, later: Samples) -> Samples:
    """Return a later sample of the same epoch, which may be of some keys only, completed by an earlier one."""
    return replace(later, usage={**earlier.usage, **later.usage})


class _EpochSample(NamedTuple):
    """The last sample of an epoch, which has all that the earlier ones had; `has_ended` if we ended that epoch."""

    samples: Samples
    at: datetime
    has_ended: bool


@dataclass(slots=True)
class UnstoredSamples:
    """Keeps the last sample of each epoch from its reading until the commit that stores it.

    How much of a sample is counted already is read from the database each time, because another process may have
    counted the same bytes meanwhile.
    """

    store: Store
    _kept: tuple[_EpochSample, ...] = field(default=(), init=False)

    def keep(self, samples: Samples, at: datetime, *, has_ended: bool = False) -> None:
        """Keep a sample that was read at this time, with what an earlier one of its epoch has of other keys."""
        others = tuple(kept for kept in self._kept if kept.samples.epoch != samples.epoch)
        for earlier in self._kept:
            if earlier.samples.epoch == samples.epoch:
                samples = _joined(earlier.samples, samples)
        self._kept = (*others, _EpochSample(samples, at, has_ended))

    def merge(self, ledger: Ledger) -> None:
        """Merge the samples, oldest first. The caller calls `forget` after the commit, which may still fail."""
        for samples, at, has_ended in self._kept:
            ledger.merge(samples, at)
            if has_ended:
                ledger.end_epoch(samples.epoch, at)

    def forget(self) -> None:
        """Note that the commit succeeded."""
        self._kept = ()

    def used_bytes(self, since: Mapping[str, datetime | None], fresh: Iterable[Samples] = ()) -> Mapping[str, int]:
        """Return what `Store.used_bytes` does, with these samples too; `fresh` may be of some keys only.

        Raises StoreUnavailable.
        """
        latest = {kept.samples.epoch: kept.samples for kept in self._kept}
        for samples in fresh:
            known = latest.get(samples.epoch)
            latest[samples.epoch] = samples if known is None else _joined(known, samples)
        return self.store.used_bytes(since, latest.values())

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
        seen = {uuid: self.store.counted(samples.epoch, uuid)}
        return increments(seen, {uuid: samples.usage[uuid]}).get(uuid, NOTHING).total
