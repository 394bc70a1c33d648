"""Ask several at once, and wait only so long for all of them."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

A = TypeVar("A")
R = TypeVar("R")


def within(timeout_s: float, ask: Callable[[A], R], of: Sequence[A]) -> list[R | None]:
    """What each says; None for those that have not said anything in time.

    Threads that nobody waits for, not an executor's: resolving a name may take half a minute where there is no
    network, and an executor's threads are waited for at the end of the program.
    """
    answers: dict[int, R] = {}

    def run(index: int) -> None:
        answers[index] = ask(of[index])

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(of))]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [answers.get(index) for index in range(len(of))]
