"""What was worked out once is not worked out again, however many there are, and nothing is kept of what is gone."""

from dataclasses import replace

from tests.support.memory import SITE
from tests.unit.test_link import KEY

from vpnkeys.domain.inbound import desired_inbounds
from vpnkeys.memo import Memo

MANY = 5_000


def test_results_are_kept_for_the_next_call_alone() -> None:
    """In the order that is asked for, each as often as it is asked for."""
    made: list[int] = []

    def double(number: int) -> int:
        made.append(number)
        return 2 * number

    memo = Memo(double)
    assert memo.map([3, 1, 3]) == [6, 2, 6]
    assert memo.map(iter([1, 2, 3])) == [2, 4, 6]
    assert made == [3, 1, 3, 2]
    assert memo.map([]) == []
    assert memo.map([1]) == [2]
    assert made[4:] == [1]


def test_inbounds_of_many_keys_are_made_once() -> None:
    """Of however many: the second look is at the same objects."""
    keys = [replace(KEY, id=str(number), uuid=str(number), port=10_000 + number) for number in range(MANY)]
    first = desired_inbounds(keys, SITE)
    changed = [replace(keys[0], port=9_999), *keys[1:]]
    second = desired_inbounds(changed, SITE)
    assert len({id(inbound) for inbound in (*first, *second)}) == len(first) + 1
