"""Calls in parallel, with one timeout for all of them."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

A = TypeVar("A")
R = TypeVar("R")


def within(timeout_s: float, ask: Callable[[A], R], of: Sequence[A]) -> list[R | None]:
    """Call `ask` for each item at once, and return the results in order; None for each that is late.

    It uses daemon threads, not an executor: resolving a name may take half a minute without a network, and Python
    waits for an executor's threads when the program ends.
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
