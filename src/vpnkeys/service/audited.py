"""Records changes that are no database transaction, such as a restart of Xray, in the audit log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from vpnkeys.domain.audit import Entry, Outcome
from vpnkeys.domain.errors import StoreUnavailable, VpnKeysError
from vpnkeys.interfaces import Store

_log = logging.getLogger(__name__)


@contextmanager
def audited(store: Store, action: str) -> Iterator[dict[str, object]]:
    """Record in the audit log how the block ended; the facts that it puts into the yielded dict become `after`.

    Raises what the block raises, and StoreUnavailable when the block succeeded and cannot be recorded.
    """
    facts: dict[str, object] = {}
    try:
        yield facts
    except VpnKeysError as error:
        try:
            store.record(Entry(action, after=facts), Outcome.FAILED, str(error))
        except StoreUnavailable as silence:
            # The caller needs the first error: it says what failed, the second only that the record of it is missing.
            _log.warning(
                "the failure of %s is not in the audit log, because the database did not take it: %s", action, silence
            )
        raise
    store.record(Entry(action, after=facts), Outcome.DONE)
