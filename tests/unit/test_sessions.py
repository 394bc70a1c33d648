"""Sessions of browsers: how long they live, and that nobody's end by what another identity does."""

from dataclasses import dataclass

from vpnkeys.api.auth.sessions import Sessions
from vpnkeys.domain.token import Scope
from vpnkeys.service.tokens import FIRST_KEY, Identity

READER = Identity("1", "a reader", Scope.READ)


@dataclass(slots=True)
class Monotonic:
    """A clock that moves when it is told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def test_signing_in_ends_nobody_else_s_session() -> None:
    """However often one token signs in: only its own sessions go, the longest unused first."""
    clock = Monotonic()
    sessions = Sessions(clock)
    operator, _ = sessions.open(FIRST_KEY)
    mine = []
    for _ in range(1001):
        clock.now += 1
        mine.append(sessions.open(READER)[0])
    assert sessions.find(operator) is not None
    assert [sessions.find(cookie) is not None for cookie in mine] == [False] * 901 + [True] * 100


def test_a_session_that_is_used_stays() -> None:
    """Of one identity the longest unused ends, not the oldest; and each after twelve hours without use."""
    clock = Monotonic()
    sessions = Sessions(clock)
    used, _ = sessions.open(READER)
    for _ in range(150):
        clock.now += 1
        sessions.open(READER)
        assert sessions.find(used) is not None
    clock.now += 12 * 3600 + 1
    assert sessions.find(used) is None
