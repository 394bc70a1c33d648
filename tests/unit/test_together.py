"""Questions are answered together, and never by an answer that began before them."""

import asyncio
import threading
from collections.abc import Collection

import pytest

from vpnkeys.api.together import Together


class Slow:
    """Answers with the number of the call; each call waits until it is let go."""

    def __init__(self) -> None:
        self.rounds: list[set[str]] = []
        self.go = threading.Semaphore(0)
        self.error: Exception | None = None

    def __call__(self, questions: Collection[str]) -> dict[str, int]:
        """One call."""
        self.rounds.append(set(questions))
        number = len(self.rounds)
        assert self.go.acquire(timeout=60)
        if self.error is not None:
            raise self.error
        return dict.fromkeys(questions, number)


async def begun(slow: Slow, rounds: int) -> None:
    """Wait until so many calls have begun."""
    while len(slow.rounds) < rounds:  # noqa: ASYNC110 - a thread counts
        await asyncio.sleep(0.001)


def test_those_who_come_meanwhile_share_the_next_answer() -> None:
    """Twenty questions, two calls."""

    async def act() -> None:
        slow = Slow()
        together = Together(slow)
        first = asyncio.create_task(together.ask("a"))
        await begun(slow, 1)
        others = [asyncio.create_task(together.ask(name)) for name in "aabbccddeeffgghhiij"]
        await asyncio.sleep(0.01)
        slow.go.release(2)
        assert await first == 1
        assert set(await asyncio.gather(*others)) == {2}
        assert slow.rounds == [{"a"}, set("abcdefghij")]

    asyncio.run(act())


def test_what_goes_wrong_is_told_to_all_whom_it_was_for_and_to_nobody_else() -> None:
    """The next question is asked anew."""

    async def act() -> None:
        slow = Slow()
        together = Together(slow)
        slow.error = OSError("away")
        slow.go.release(1)
        told = await asyncio.gather(together.ask("a"), together.ask("b"), return_exceptions=True)
        assert [str(error) for error in told] == ["away", "away"]
        slow.error = None
        slow.go.release(1)
        assert await together.ask("a") == 2

    asyncio.run(act())


def test_one_who_goes_away_takes_nobodys_answer_with_him() -> None:
    """The others are answered."""

    async def act() -> None:
        slow = Slow()
        together = Together(slow)
        hasty, patient = asyncio.create_task(together.ask("a")), asyncio.create_task(together.ask("b"))
        await begun(slow, 1)
        hasty.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hasty
        slow.go.release(1)
        assert await patient == 1

    asyncio.run(act())
