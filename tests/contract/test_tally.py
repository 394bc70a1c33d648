"""The tally of a ledger, as every store keeps it: what monitoring shows."""

from datetime import timedelta

from tests.contract.test_ledger import FIRST, NEXT, ONE, TWO, end, merge, reset
from tests.contract.test_ledger import store as store  # noqa: PLC0414 - a fixture
from tests.contract.test_store import NOON

from vpnkeys.domain.nodes import LOCAL
from vpnkeys.domain.traffic import Bytes, Tally
from vpnkeys.interfaces import Store


def test_the_tally_is_all_that_was_ever_merged(store: Store) -> None:
    """Over all lives of Xray, whatever was reset or deleted, and no byte of it twice."""
    assert store.tally() == Tally({}, 0, None)
    for _ in range(2):
        merge(store, FIRST, 0, one=(10, 100), two=(1, 2), stranger=(7, 7))
    reset(store)
    end(store, FIRST, 5)
    merge(store, NEXT, 10, one=(5, 50))
    merge(store, FIRST, 4, one=(11, 101))  # it comes late
    all_bytes = Tally({LOCAL.id: Bytes(17, 153)}, 0, NOON + timedelta(seconds=10))
    assert store.tally() == all_bytes
    with store.write() as transaction:
        transaction.delete(TWO.id)
    assert store.tally() == all_bytes
    assert store.counted_by_key() == {ONE.uuid: Bytes(16, 151)}


def test_the_tally_counts_gaps(store: Store) -> None:
    """Each life that ended unasked, and none that we ended."""
    for number in range(4):
        merge(store, f"life {number}", number * 10, one=(1, 1))
    assert store.tally().gaps == 3
    end(store, "life 3", 35)
    merge(store, "life 4", 40, one=(1, 1))
    assert store.tally().gaps == 3
