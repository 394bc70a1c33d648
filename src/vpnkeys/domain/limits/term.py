"""Writes the length of a term in words: exactly, in days and in what is left of a day."""

from collections.abc import Callable

Forms = tuple[str, ...]

_LENGTHS_S = (86400, 3600, 60, 1)
ENGLISH_UNITS: tuple[Forms, ...] = (("day", "days"), ("hour", "hours"), ("minute", "minutes"), ("second", "seconds"))


def english_plural(count: int) -> int:
    """Return which of two forms a number takes: 0 for one, 1 for many."""
    return int(count != 1)


def in_words(
    seconds: int, units: tuple[Forms, ...] = ENGLISH_UNITS, plural: Callable[[int], int] = english_plural
) -> str:
    """Return a term such as "1 day 12 hours", without the units of which it has none.

    `units` has the forms of day, hour, minute and second, of which `plural` returns the one that a number takes.
    """
    parts = []
    for length, forms in zip(_LENGTHS_S, units, strict=True):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count} {forms[plural(count)]}")
    return " ".join(parts)
