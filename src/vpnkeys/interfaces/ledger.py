"""Declares the protocol of the accounts of traffic."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from vpnkeys.domain.nodes import LOCAL
from vpnkeys.domain.traffic import Bytes, Samples


class Ledger(Protocol):
    """Keeps the accounts of traffic, inside a write transaction."""

    # The highest counter of each key, node and epoch counts, so that neither order nor repetition of samples matters.
    def merge(self, samples: Samples, at: datetime) -> Mapping[str, Bytes]:
        """Merge a sample that was taken at this time; return what that added, by UUID, without what is zero.

        Idempotent; counters of unknown keys are left out.
        """
        ...

    def end_epoch(self, epoch: str, at: datetime, node_id: int = LOCAL.id) -> None:
        """Store that a node ended this epoch (life of its Xray) after its last sample, so that it has no gap."""
        ...

    def reset(self, uuid: str, at: datetime) -> None:
        """Let the key's total be zero from now on; Xray's counters are not touched."""
        ...

    def used_bytes(self, since: Mapping[str, datetime | None]) -> Mapping[str, int]:
        """Return the bytes that keys have used, by UUID: see `Store.used_bytes`."""
        ...

    # A day takes 48 numbers a key by hour, and two as a sum.
    def fold_into_days(self, before: datetime) -> bool:
        """Add the hours of the oldest day before a midnight up; return whether there was one, so that more may be."""
        ...

    # Which of them came up and which down is not known: in the history they are all down.
    def open_account(self, uuid: str, base_bytes: int, counts_at: datetime | None = None) -> None:
        """Start a key with bytes that another server counted; with `counts_at`, they are in the windows of then."""
        ...

    def count_elsewhere(self, uuid: str, more_bytes: int, counts_at: datetime | None = None) -> None:
        """Add bytes that another server counted to a key's total, or to the windows of `counts_at` alone."""
        ...

    def start_from(self, samples: Samples) -> None:
        """Start keys at these counters, which deleted keys of the same UUIDs left in Xray: their bytes do not count."""
        ...
