"""Names and notes, as people write them."""

import unicodedata

from vpnkeys.domain.errors import InvalidName, InvalidNote

NAME_MAX_CHARS = 128
NOTE_MAX_CHARS = 1000

# Cc: control characters; Cs: lone surrogates, which have no UTF-8.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs"})


def has_controls(text: str, allowed: str = "") -> bool:
    """Return whether a text holds control characters, but for those allowed, or lone surrogates.

    By category, so that joiners and characters newer than Python's Unicode stay: emoji have both.
    """
    return any(unicodedata.category(char) in _FORBIDDEN_CATEGORIES and char not in allowed for char in text)


def parse_name(raw: str) -> str:
    """Return the name without surrounding white space.

    Raises InvalidName when nothing is left, when it has more than 128 characters, or when it holds control
    characters or lone surrogates. Letters of all scripts are allowed.
    """
    if has_controls(raw):
        msg = "The name has control characters; use letters, digits, punctuation and spaces of any script."
        raise InvalidName(msg)
    name = raw.strip()
    if not name:
        msg = "The name is empty; give 1 to 128 characters."
        raise InvalidName(msg)
    if len(name) > NAME_MAX_CHARS:
        msg = f"The name has {len(name)} characters; give 1 to {NAME_MAX_CHARS}."
        raise InvalidName(msg)
    return name


def parse_note(raw: str) -> str:
    """Return the note unchanged. Raises InvalidNote when it has more than 1000 characters or control characters.

    Line breaks and tabs are allowed.
    """
    if has_controls(raw, allowed="\n\t"):
        msg = "The note has control characters; remove all but line breaks and tabs."
        raise InvalidNote(msg)
    if len(raw) > NOTE_MAX_CHARS:
        msg = f"The note has {len(raw)} characters; give at most {NOTE_MAX_CHARS}."
        raise InvalidNote(msg)
    return raw
