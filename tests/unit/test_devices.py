"""Which devices stay: the newest gets in at once, and two that are in use do not cut each other off by turns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vpnkeys.domain.limits.devices import RETURNING_FOR_S, Device, surplus

HOME, WORK, CAFE, TRAIN = "192.0.2.1", "192.0.2.2", "2001:db8::/64", "192.0.2.4"


@dataclass
class Looks:
    """A look a second at devices that try again as soon as they are cut off; the silent ones send nothing any more."""

    limit: int = 1
    known: dict[str, Device] = field(default_factory=dict)
    now: float = 1000.0
    silent_since: dict[str, float] = field(default_factory=dict)
    asked: int = 0

    def look(self, *online: str) -> tuple[str, ...]:
        """One more; who is cut off."""
        self.now += 1.0
        self.known, gone = surplus(self.known, online, self.limit, self._silent_for, self.now)
        return gone

    def looks(self, seconds: int, *online: str) -> list[tuple[str, ...]]:
        """Several."""
        return [self.look(*online) for _ in range(seconds)]

    def is_silent(self, *names: str) -> None:
        """From now on."""
        self.silent_since = dict.fromkeys(names, self.now)

    def _silent_for(self) -> dict[str, float]:
        self.asked += 1
        return {name: self.now - since for name, since in self.silent_since.items()}


def turns(looks: Iterable[Sequence[str]]) -> int:
    """How often it was another one's turn to be cut off."""
    cut = [gone for gone in looks if gone]
    return sum(one != other for one, other in pairwise(cut))


def test_the_kernel_is_asked_only_when_there_are_too_many() -> None:
    """And up to the limit nobody is cut off."""
    looks = Looks(limit=2)
    assert looks.looks(3, HOME, WORK) == [(), (), ()]
    assert looks.asked == 0
    assert looks.look(HOME, WORK, CAFE) == (HOME,)
    assert looks.asked == 1


def test_a_phone_on_a_new_network_gets_in_at_once() -> None:
    """Its old connections are open for minutes, because nobody said goodbye; it is never cut off."""
    looks = Looks()
    looks.looks(30, HOME)
    looks.is_silent(HOME)
    assert looks.look(HOME, WORK) == (HOME,)
    assert looks.looks(100, WORK) == [()] * 100


def test_a_phone_that_comes_back_waits_for_five_seconds_at_most() -> None:
    """Until its other address has been silent for so long, by which it differs from a second device."""
    looks = Looks()
    looks.looks(30, HOME)
    looks.look(HOME, WORK)
    looks.looks(2, WORK)
    looks.is_silent(WORK)
    found = looks.looks(10, WORK, HOME)
    assert found == [(HOME,)] * 4 + [(WORK,)] * 6
    assert looks.looks(3, HOME) == [()] * 3


def test_two_devices_in_use_do_not_take_turns() -> None:
    """The newer one stays, however often the other one tries, as long as both are in use."""
    looks = Looks()
    looks.looks(30, HOME)
    assert turns(looks.looks(1000, HOME, WORK)) == 0


def test_a_short_pause_between_two_connections_is_no_departure() -> None:
    """One that is in use has no connection open at some looks; the other one does not slip in between."""
    looks = Looks()
    looks.looks(30, HOME)
    looks.look(HOME, WORK)
    found = [looks.look(*((HOME,) if second % 4 else (HOME, WORK))) for second in range(100)]
    assert found == [(HOME,)] * 100


def test_who_stays_away_for_a_minute_is_new_again() -> None:
    """The newest stays."""
    looks = Looks()
    looks.looks(30, HOME)
    looks.look(HOME, WORK)
    looks.looks(int(RETURNING_FOR_S), WORK)
    assert looks.look(WORK, HOME) == (WORK,)


def test_the_silent_one_goes_before_the_oldest() -> None:
    """Two at home, one of them a phone that has just left for another network."""
    looks = Looks(limit=2)
    looks.look(HOME)
    looks.looks(10, HOME, WORK)
    looks.is_silent(WORK)
    looks.looks(6, HOME, WORK)
    assert looks.look(HOME, WORK, TRAIN) == (WORK,)
    assert looks.looks(5, HOME, TRAIN) == [()] * 5


def test_of_those_seen_at_the_same_look_the_newest_connection_stays() -> None:
    """As after a start of the server, for which all are new."""
    assert Looks().look(HOME, CAFE) == (HOME,)
    assert Looks().look(CAFE, HOME) == (CAFE,)


@given(st.integers(1, 3), st.lists(st.sets(st.sampled_from([HOME, WORK, CAFE, TRAIN])), max_size=20), st.data())
def test_never_more_and_never_fewer(limit: int, at_looks: list[set[str]], data: st.DataObject) -> None:
    """At most the limit stays of those online; a newcomer is never cut off; nobody is while there is room."""
    looks = Looks(limit)
    for online in at_looks:
        if data.draw(st.booleans()):
            looks.is_silent(*data.draw(st.sets(st.sampled_from([HOME, WORK, CAFE, TRAIN]))))
        new = online - looks.known.keys()
        gone = looks.look(*sorted(online))
        assert len(online) - len(gone) <= limit
        assert len(new & {*gone}) <= max(0, len(new) - limit)
        assert not gone or len([one for one in looks.known.values() if one.online_at > looks.now - 5]) > limit
        assert len(looks.known) <= 4


def test_who_is_gone_is_forgotten() -> None:
    """Nothing grows for ever."""
    looks = Looks()
    looks.look(HOME, WORK)
    looks.looks(int(RETURNING_FOR_S) + 1)
    assert looks.known == {}
