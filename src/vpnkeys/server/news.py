"""Wakes the requests of agents that wait until there is something new for their node."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock


class News:
    """Lets requests wait for news of a node. They belong to one event loop; any thread may tell that there are some."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: dict[int, set[asyncio.Event]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.has_ended = False

    def end(self) -> None:
        """Let all that wait be answered, as the server ends."""
        self.has_ended = True
        with self._lock:
            waiting: Mapping[int, object] = dict(self._waiting)
        for node_id in waiting:
            self.tell(node_id)

    def tell(self, node_id: int) -> None:
        """Wake those that wait for news of this node."""
        with self._lock:
            events, loop = tuple(self._waiting.get(node_id, ())), self._loop
        if loop is not None and not loop.is_closed():
            for event in events:
                loop.call_soon_threadsafe(event.set)

    @contextmanager
    def listening(self, node_id: int) -> Iterator[asyncio.Event]:
        """Return an event that is set whenever there may be news of this node, during the block."""
        event = asyncio.Event()
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._waiting.setdefault(node_id, set()).add(event)
        try:
            yield event
        finally:
            with self._lock:
                self._waiting[node_id].discard(event)
