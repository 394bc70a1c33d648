"""Finds the counters of a node that its control plane has not stored yet."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from vpnkeys.domain.traffic import Bytes, EpochSample
from vpnkeys.wire.agents import MOST_COUNTERS, Life


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


def _parts(news: dict[str, Bytes], most: int) -> Iterator[dict[str, Bytes]]:
    accounts = [*news]
    for first in range(0, max(len(accounts), 1), most):
        yield {account: news[account] for account in accounts[first : first + most]}
