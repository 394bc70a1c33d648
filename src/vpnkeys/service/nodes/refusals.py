"""Records what agents were refused, so that one who repeats it fills no audit log."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from vpnkeys.domain.actor import Actor, acting, current_actor
from vpnkeys.domain.audit import Entry, Outcome
from vpnkeys.interfaces import Store

# For so long, one record stands for all refusals of its kind.
A_WHILE_S: Final = 600.0
_MOST_KINDS: Final = 1000


@dataclass(slots=True)
class _Kind:
    """Refusals of one kind since the last record: how many more there were, and the last of them."""

    recorded_at: float
    entry: Entry
    why: str
    actor: Actor
    more: int = 0


@dataclass(slots=True)
class Refusals:
    """Records the first refusal of a kind at once, and after a while how many more there were."""

    store: Store
    monotonic: Callable[[], float]
    _kinds: dict[tuple[str, str, str], _Kind] = field(default_factory=dict, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def note(self, reason: str, entry: Entry, why: str) -> None:
        """Note a refusal; its kind is that of action, subject and reason. Raises StoreUnavailable."""
        self.settle()
        place = (entry.action, entry.subject, reason)
        with self._lock:
            known = self._kinds.get(place)
            if known is not None:
                known.why, known.actor, known.more = why, current_actor(), known.more + 1
            elif len(self._kinds) < _MOST_KINDS:
                self._kinds[place] = _Kind(self.monotonic(), entry, why, current_actor())
        if known is None:
            self.store.record(entry, Outcome.FAILED, why)

    def settle(self) -> None:
        """Record how many more there were of each kind whose while is over. Raises StoreUnavailable."""
        if not self._kinds:
            return
        now = self.monotonic()
        with self._lock:
            over = {place: kind for place, kind in self._kinds.items() if now - kind.recorded_at >= A_WHILE_S}
            for place in over:
                del self._kinds[place]
        for kind in over.values():
            if kind.more:
                with acting(kind.actor):
                    again = f"{kind.why} This was refused {kind.more} more times in {A_WHILE_S / 60:.0f} minutes."
                    self.store.record(kind.entry, Outcome.FAILED, again)
