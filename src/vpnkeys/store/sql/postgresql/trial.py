"""Tries out what a change of keys needs."""

from sqlalchemy import Connection

from vpnkeys.interfaces import BRIEFLY_S
from vpnkeys.store.sql.nodes.tables import placements
from vpnkeys.store.sql.tables import audit, changed_keys, deliveries, generations, idempotency, intents, keys, stops

_CHANGED = (keys, intents, stops, placements, audit, deliveries, generations, changed_keys, idempotency)
_LOCK = f"LOCK TABLE {', '.join(table.name for table in _CHANGED)} IN ROW EXCLUSIVE MODE"
_SPILL = "SELECT count(*) FROM generate_series(1, 20000)"
"""Has some 270 KiB, which PostgreSQL writes to a file of this transaction when it may not keep them in memory."""


def try_out(connection: Connection) -> None:
    """Take the locks that a change of keys takes, and some space on the disk, until the transaction ends.

    What others have locked is waited for briefly, as all other writers wait meanwhile. A row in place of another one
    says nothing of the disk, and one more each time would grow for ever; a file that is gone again costs no log.
    """
    patience = f"SET LOCAL lock_timeout = {int(BRIEFLY_S * 1000)}"
    here = "SET LOCAL work_mem = 64; SET LOCAL temp_tablespaces = ''"  # KiB, and where the tables are
    every = f"{patience}; {here}; {_LOCK}; {_SPILL}"
    connection.exec_driver_sql(every, execution_options={"no_parameters": True})
