"""Chooses the keys of a list, and orders them."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from vpnkeys.cli.output.tables import status_of
from vpnkeys.client import Key
from vpnkeys.domain.limits import Status

_LAST = datetime.max.replace(tzinfo=UTC)


class Sort(StrEnum):
    """An order of keys."""

    MADE = "made"
    NAME = "name"
    STATUS = "status"
    USED = "used"
    LEFT = "left"
    EXPIRES = "expires"
    PORT = "port"


_ORDERS: dict[Sort, Callable[[Key], Any]] = {
    Sort.NAME: lambda key: key.name.casefold(),
    Sort.STATUS: status_of,
    Sort.USED: lambda key: -(key.used_in_window_bytes or 0),
    Sort.LEFT: lambda key: (key.remaining_bytes is None, key.remaining_bytes),
    # Times that wait for a first connection come after all dates, and before never.
    Sort.EXPIRES: lambda key: (key.expires_at or _LAST, key.expires_after_s is None, key.expires_after_s),
    Sort.PORT: lambda key: key.port,
}


def chosen(keys: Iterable[Key], status: Status | None, search: str | None, sort: Sort) -> list[Key]:
    """Return the keys with this status, and with this text in name, note or id, in order."""
    small = (search or "").casefold()
    found = (key for key in keys if status is None or status_of(key) == status)
    having = (key for key in found if any(small in text.casefold() for text in (key.name, key.note, key.id, key.uuid)))
    # The server lists keys in the order in which they were made, whatever its clock said then.
    return list(having) if sort is Sort.MADE else sorted(having, key=_ORDERS[sort])
