"""Finds out once a second what the streams of events report, for all of them together."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context
from itertools import count
from typing import NamedTuple

from vpnkeys.server.pools import Pool

_log = logging.getLogger(__name__)

_TICK_S = 1.0
_WOKEN_AT_ONCE = 8
"""Streams that send in one turn of the event loop; requests are answered between two turns."""


class Found(NamedTuple):
    """Something to report: the event's name, its data, and the part of it whose change makes it worth sending."""

    name: str
    data: bytes
    compared: object


class Event(NamedTuple):
    """An event as it is sent. `number` is another one after each change."""

    number: int
    chunk: bytes


class Feed:
    """Calls `look` once a second while there are streams, and passes to all of them what it finds.

    `look` is called in a thread, with the number of the look. It belongs to the event loop that answers requests.
    """

    def __init__(self, look: Callable[[int], Iterable[Found]], tick_s: float = _TICK_S) -> None:
        self._look = look
        self._tick_s = tick_s
        self._numbers = count(1)
        self._streams = 0
        self._looking: asyncio.Task[None] | None = None
        self._compared: dict[str, object] = {}
        self._latest: Mapping[str, Event] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self.has_ended = False

    def end(self) -> None:
        """Let all streams end, as the server does."""
        self.has_ended = True
        for woken in self._waiting:
            if not woken.done():
                woken.set_result(None)

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Count a stream during the block; the first one begins the looks, and the last one ends them."""
        self._streams += 1
        if self._looking is None:
            # In a context of its own: the look is nobody's request.
            self._looking = asyncio.create_task(self._look_on(), context=Context())
        try:
            yield
        finally:
            self._streams -= 1

    async def latest(self, *, after_next: bool) -> Mapping[str, Event]:
        """Return the last event of each name, by name; first wait for the next look if asked, or if there was none."""
        if not self.has_ended and (after_next or not self._latest):
            woken = asyncio.get_running_loop().create_future()
            self._waiting.append(woken)
            await woken
        return self._latest

    async def _look_on(self) -> None:
        failing = False
        for number in count():
            try:
                found = await Pool.EVENTS.run(self._read, number)
            except Exception:  # noqa: BLE001 - whatever it is, streams go on and the next look may succeed
                if not failing:
                    _log.exception("what the event streams report could not be read; it is tried every second")
                failing = True
            else:
                failing = False
                self._note(found)
            await self._wake()
            await asyncio.sleep(self._tick_s)
            if not self._streams:
                break
        # What was found is out of date for the stream that comes next.
        self._looking, self._latest = None, {}
        self._compared.clear()

    def _read(self, number: int) -> list[Found]:
        return list(self._look(number))

    def _note(self, found: list[Found]) -> None:
        changed = {}
        for name, data, compared in found:
            if name not in self._compared or self._compared[name] != compared:
                self._compared[name] = compared
                changed[name] = Event(next(self._numbers), b"event: %s\ndata: %s\n\n" % (name.encode(), data))
        self._latest = {**self._latest, **changed}

    async def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for first in range(0, len(waiting), _WOKEN_AT_ONCE):
            for woken in waiting[first : first + _WOKEN_AT_ONCE]:
                if not woken.done():  # its stream may have ended
                    woken.set_result(None)
            await asyncio.sleep(0)
