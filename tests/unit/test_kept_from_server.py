"""Two threads look at a PostgreSQL database at the same time: what is kept is what the one saw that saw more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import pytest
from sqlalchemy import Connection

from vpnkeys.store.sql.memory import Tables
from vpnkeys.store.sql.postgresql.kept import KeptFromServer


class Looks(KeptFromServer):
    """Looks at numbers instead of a database; what comes in between is the test's."""

    def __init__(self) -> None:
        """The first look."""
        self.now_is = 1
        self.before_reading: list[Callable[[], object]] = []
        self.after_reading: list[Callable[[], object]] = []
        super().__init__(self._open)

    @contextmanager
    def _open(self) -> Iterator[Connection]:
        if self.before_reading:
            self.before_reading.pop()()
        yield cast("Connection", self)

    def scalar(self, _question: object) -> bool:
        """It is no standby; the tables are read by now."""
        if self.after_reading:
            self.after_reading.pop()()
        return False

    def numbers(self, _connection: Connection) -> Mapping[str, int]:
        """How often the keys have changed."""
        return dict.fromkeys(("keys", "stops", "placements"), self.now_is)

    def within(self, connection: Connection) -> Tables:
        """The tables of now."""
        return Tables(generations=self.numbers(connection))

    def changes(self, to: int) -> None:
        """Something changes, and another thread sees it."""
        self.now_is = to
        self.now()


@pytest.fixture
def looks() -> Looks:
    """A store that has looked once."""
    return Looks()


def seen(looks: Looks) -> int:
    """What is kept, which event loops see."""
    return looks.last.generations["keys"]


def test_one_that_began_later_and_saw_less_is_not_kept(looks: Looks) -> None:
    """It has read, and ends after the other one has seen a change."""
    looks.after_reading = [lambda: looks.changes(2)]
    looks.now()
    assert seen(looks) == 2


def test_one_that_began_earlier_and_saw_more_is_kept(looks: Looks) -> None:
    """It reads after the other one has, and after a change."""

    def other_first() -> None:
        looks.now()
        looks.now_is = 2

    looks.before_reading = [other_first]
    looks.now()
    assert seen(looks) == 2


def test_a_database_that_was_put_back_is_believed(looks: Looks) -> None:
    """By the first look that begins after it."""
    looks.changes(5)
    looks.changes(3)
    assert seen(looks) == 3
