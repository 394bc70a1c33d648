"""Finds the counters of a node that its control plane has not stored yet, and what else it has not heard."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from vpnkeys.domain.key import Keys
from vpnkeys.domain.traffic import Bytes, EpochSample
from vpnkeys.wire.agents import MOST_COUNTERS, MOST_KEYS, Life, WantedKey


@dataclass(slots=True)
class Stored:
    """Remembers what the control plane has said that it stored. A new one knows of nothing, and all is said again."""

    _usage: dict[str, dict[str, Bytes]] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)

    def news_in(self, lives: tuple[EpochSample, ...]) -> Iterator[tuple[Life, ...]]:
        """Yield what is new in a node's lives, in parts for one report each: at least one, with the present life."""
        last = lives[-1].samples.epoch if lives else ""
        part: list[Life] = []
        room = MOST_COUNTERS
        for samples, at, has_ended in lives:
            known = self._usage.get(samples.epoch, {})
            news = {account: used for account, used in samples.usage.items() if known.get(account) != used}
            if not news and samples.epoch != last and (not has_ended or samples.epoch in self._ended):
                continue
            for more in _parts(news, MOST_COUNTERS):
                if len(more) > room:
                    yield tuple(part)
                    part, room = [], MOST_COUNTERS
                part.append(Life(epoch=samples.epoch, sampled_at=at, has_ended=has_ended, usage=more))
                room -= len(more)
        yield tuple(part)

    def note(self, part: tuple[Life, ...]) -> None:
        """Note that the control plane has stored this."""
        for life in part:
            known = self._usage.setdefault(life.epoch, {})
            known.update({account: Bytes(*used) for account, used in life.usage.items()})
            if life.has_ended:
                self._ended.add(life.epoch)


def began_here(wanted: Iterable[WantedKey], keys: Keys) -> dict[str, datetime]:
    """Return when the time of keys began here, by account, of which the control plane says that it has not."""
    waiting = (one.id for one in wanted if one.expires_after_s is not None and one.expires_at is None)
    began = ((key.account, key.limits.began_at) for key in keys.among(waiting))
    return dict(islice(((account, at) for account, at in began if at is not None), MOST_KEYS))


def _parts(news: dict[str, Bytes], most: int) -> Iterator[dict[str, Bytes]]:
    accounts = [*news]
    for first in range(0, max(len(accounts), 1), most):
        yield {account: news[account] for account in accounts[first : first + most]}
