"""Checks the rows of a database from elsewhere: what they hold goes into Xray's configuration and into webhooks."""

import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from vpnkeys.domain.errors import InvalidChoice, InvalidName
from vpnkeys.domain.flow import Flow
from vpnkeys.domain.key import Key
from vpnkeys.domain.making.draft import parse_choices
from vpnkeys.domain.naming import parse_name
from vpnkeys.domain.portpool import is_port
from vpnkeys.domain.reality import is_server_name
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import migrate
from vpnkeys.store.sql.store import SqlStore

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,35}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rows:
    """What a database grants: the keys' ports in order, and how many tokens and webhooks it has."""

    ports: tuple[int, ...]
    tokens: int
    webhooks: int


def migrated_rows(database: Path) -> Rows:
    """Migrate a database to this version and return what its rows grant.

    Raises DatabaseDamaged for a row that cannot be read, and ValueError for a key that no server makes.
    """
    engine = open_engine(f"sqlite:///{database}")
    try:
        migrate(engine)
        with closing(SqlStore(engine)) as store:
            keys = store.keys()
            store.subscriptions()
            for key in keys:
                _require_sound(key)
            return Rows(tuple(sorted(key.port for key in keys)), len(store.tokens()), len(store.webhooks()))
    finally:
        engine.dispose()


def _require_sound(key: Key) -> None:
    """Raise ValueError with the key and what is wrong with it."""
    try:
        parse_choices(key.uuid, key.short_id)
        parse_choices(key.account)
        parse_name(key.name)
    except (InvalidChoice, InvalidName, AttributeError, TypeError) as error:
        raise ValueError(f"its key {key.id!r}: {error}") from error
    # SQLite keeps values of any type in any column.
    is_ours = is_port(str(key.port)) and _ID.fullmatch(str(key.id)) and is_server_name(str(key.sni))
    if not (is_ours and key.flow in {*Flow}):
        raise ValueError(f"its key {key.id!r} has an id, a server name, a port or a flow that no server gives")
