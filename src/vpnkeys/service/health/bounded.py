"""Asks a database elsewhere without waiting for it longer than an answer of `/health` may take."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import Generic, TypeVar

T = TypeVar("T")

_PATIENCE_S = 0.6


@dataclass(slots=True)
class Bounded(Generic[T]):
    """Calls a function in a thread; while one call goes on, no other begins."""

    work: Callable[[], T]
    patience_s: float = _PATIENCE_S
    _asked: Future[T] | None = field(default=None, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def result(self) -> T:
        """Return what the function returns; raise what it raises, or TimeoutError when that takes too long."""
        with self._lock:
            asked = self._asked
            if asked is None or asked.done():
                asked = self._asked = Future()
                Thread(target=self._ask, args=(asked,), name="bounded-question", daemon=True).start()
        return asked.result(self.patience_s)

    def _ask(self, asked: Future[T]) -> None:
        try:
            asked.set_result(self.work())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            asked.set_exception(error)
