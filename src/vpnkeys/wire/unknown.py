"""Finds the field that an unknown name in a request is close to."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

_NOT_LETTERS = re.compile(r"[^a-z0-9]")
_SHORT, _BEGINNING, _LONG = 4, 6, 8
_COMPARED_CHARS = 256
_SHOWN_CHARS = 64

MOST_UNKNOWN = 20
"""A request with more unknown names is refused unread: comparing one takes a millisecond, and there is room for ten
thousand in a body."""


def refusal(unknown: Sequence[str], meant: Callable[[str], str | None]) -> str | None:
    """Return the sentence that refuses a request with these unknown names; None when it may have them.

    `meant` returns the field that a name is close to, or None.
    """
    if len(unknown) > MOST_UNKNOWN:
        return f"more than {MOST_UNKNOWN} fields that this server does not know; leave them out"
    return next((explanation(name, found) for name in unknown if (found := meant(name)) is not None), None)


def field_meant(given: str, fields: Iterable[str], other_names: Mapping[str, str]) -> str | None:
    """Return the field that an unknown name is close to, None when it is close to none.

    Close is another spelling (`trafficLimit`), a known name of other programs (`other_names`), the same beginning, or
    a typo.
    """
    plain = _plain(given[:_COMPARED_CHARS])
    if plain in other_names:
        return other_names[plain]
    return next((field for field in fields if _is_close(plain, _plain(field))), None)


def explanation(given: str, meant: str) -> str:
    """Return the sentence that refuses an unknown field of a body, or of a query."""
    return f"{given[:_SHOWN_CHARS]}: there is no such field; if {meant} is meant, send that"


def _plain(name: str) -> str:
    """Return the letters and digits of a name, in which `limitIp`, `limit-ip` and `limit_ip` are the same."""
    return _NOT_LETTERS.sub("", name.lower())


def _is_close(plain: str, field: str) -> bool:
    if plain == field:
        return True
    if len(plain) < _SHORT - 1 or len(plain) > 2 * len(field):
        return False
    whole, beginning = _distances(plain, field)
    if len(field) <= _SHORT:
        # A short word is a typo of many others, as `node` is of `note`: only what has the same letters is close.
        return field.startswith(plain) or (whole == 1 and len(plain) > len(field)) or sorted(plain) == sorted(field)
    allowed = 0 if len(plain) < _SHORT else 1 if len(plain) < _LONG else 2
    return (
        whole <= allowed
        or (len(plain) > _SHORT and beginning <= (1 if len(plain) >= _BEGINNING else 0))
        or plain[:_BEGINNING] == field[:_BEGINNING]
    )


def _distances(plain: str, field: str) -> tuple[int, int]:
    """Return how many typos make a field of the name, and how few make a beginning of the field of it.

    A typo is a letter too many, too few, wrong, or swapped with its neighbour (optimal string alignment).
    """
    before: list[int] = []
    row = list(range(len(field) + 1))
    for i, letter in enumerate(plain, start=1):
        above, before, row = before, row, [i]
        for j, other in enumerate(field, start=1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == field[j - 2] and plain[i - 2] == other:
                best = min(best, above[j - 2] + 1)
            row.append(best)
    return row[-1], min(row)
