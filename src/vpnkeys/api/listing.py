"""Selects which keys a list shows, page by page.

A page begins after a place in the list and not after a number of keys, so that keys that are made or deleted meanwhile
neither repeat nor hide others. The list is in the order of the keys' numbers, so the place is found without reading it.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from vpnkeys.domain.errors import InvalidPage
from vpnkeys.domain.key import Key
from vpnkeys.domain.nodes import NodeRef

MOST = 1000
"""So many keys a page has at most."""

LIMIT_FORM = "^([1-9][0-9]{0,2}|1000)$"
PLACE_FORM = "^[0-9]{1,16},"
"""Of a place in a list: the number of its last key, and the key's id."""

Cursor = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Page:
    """Some keys, oldest first. `next_after` is the place at which the next page begins; "" when there is none."""

    keys: tuple[Key, ...]
    next_after: str


@dataclass(frozen=True, slots=True)
class Query:
    """Which keys are wanted; what is None does not matter."""

    name: str | None = None
    search: str | None = None
    after: Cursor | None = None
    limit: int | None = None
    node: NodeRef | None = None


def parse_query(
    name: str | None, search: str | None, after: str | None, limit: str | None, node: NodeRef | None = None
) -> Query:
    """Return the query of these texts. Raises InvalidPage."""
    return Query(
        name,
        None if search is None else search.strip().casefold(),
        None if after is None else _parse_place(after),
        None if limit is None else _parse_limit(limit),
        node,
    )


def page_of(keys: Sequence[Key], query: Query) -> Page:
    """Return the keys that are wanted, of all keys in their order."""
    start = 0 if query.after is None else bisect_right(keys, query.after, key=_place_of)
    # Not a slice, which would copy all that comes after this page.
    found = (key for key in islice(keys, start, None) if _is_wanted(key, query))
    if query.limit is None:
        return Page(tuple(found), "")
    some = tuple(islice(found, query.limit + 1))
    page = some[: query.limit]
    return Page(page, _render_place(page[-1]) if len(some) > len(page) else "")


def _is_wanted(key: Key, query: Query) -> bool:
    if query.name is not None and key.name != query.name:
        return False
    if query.node is not None and key.node != query.node:
        return False
    return query.search is None or any(query.search in text for text in _texts_of(key))


def _texts_of(key: Key) -> Iterable[str]:
    """Yield what a search looks at."""
    yield key.name.casefold()
    yield key.note.casefold()
    yield key.uuid
    yield key.id.lower()
    yield key.short_id
    yield str(key.port)


def _place_of(key: Key) -> Cursor:
    return key.number, key.id


def _render_place(key: Key) -> str:
    return f"{key.number},{key.id}"


def _parse_place(text: str) -> Cursor:
    if re.match(PLACE_FORM, text) is None:
        msg = "after: take it from the Link header of the page before, or leave it out for the first page."
        raise InvalidPage(msg)
    number, _, key_id = text.partition(",")
    return int(number), key_id


def _parse_limit(text: str) -> int:
    if re.fullmatch(LIMIT_FORM, text) is None:
        msg = f"limit: give a whole number from 1 to {MOST}."
        raise InvalidPage(msg)
    return int(text)
