"""Changes that are no transaction of the database, such as a restart of Xray, stand in the audit log all the same."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from vpnkeys.domain.audit import Entry, Outcome
from vpnkeys.domain.errors import StoreUnavailable, VpnKeysError
from vpnkeys.interfaces import Store

_log = logging.getLogger(__name__)


@contextmanager
def audited(store: Store, action: str) -> Iterator[dict[str, object]]:
    """Write down what the block does and how it ends; what it puts into the given facts is told as `after`."""
    facts: dict[str, object] = {}
    try:
        yield facts
    except VpnKeysError as error:
        try:
            store.record(Entry(action, after=facts), Outcome.FAILED, str(error))
        except StoreUnavailable as silence:
            _log.warning("that %s failed is missing from the audit log: %s", action, silence)
        raise
    store.record(Entry(action, after=facts), Outcome.DONE)
