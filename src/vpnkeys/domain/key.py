"""A key: one customer's access, with its own port, short id and server name."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime

from vpnkeys.domain.errors import InvalidName, InvalidNote
from vpnkeys.domain.limits import NO_LIMITS, Limits, Status

NAME_MAX_CHARS = 128
NOTE_MAX_CHARS = 1000
VISION = "xtls-rprx-vision"

# Cc: control characters; Cs: lone surrogates, which have no UTF-8.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs"})


@dataclass(frozen=True, slots=True)
class Key:
    """One key, as the database holds it.

    `uuid` is the VLESS id and the email of Xray's counters. `created_at` is UTC without an offset. `short_id` is hex:
    16 digits for keys made here, fewer for some that were imported. `flow` is empty only for imported keys whose
    links never had Vision. `port_assigned_at` is None as long as the key has the port that it was made with.
    `is_active` is the operator's switch, `judged` what the key's limits made of it when they were last looked at.
    """

    id: str
    name: str
    uuid: str
    created_at: datetime
    is_active: bool
    port: int
    short_id: str
    sni: str
    flow: str = VISION
    port_assigned_at: datetime | None = None
    note: str = ""
    limits: Limits = NO_LIMITS
    limit_status: Status = Status.ACTIVE

    @property
    def status(self) -> Status:
        """Whether the key works, and if not, why."""
        return self.limit_status if self.is_active else Status.DISABLED

    @property
    def tag(self) -> str:
        """The tag of this key's inbound in Xray."""
        return f"key-{self.id}"


def parse_name(raw: str) -> str:
    """The name without the white space around it.

    Raises InvalidName when nothing is left, when it has more than 128 characters, or when it holds control
    characters or lone surrogates. Any script is welcome.
    """
    if any(unicodedata.category(char) in _FORBIDDEN_CATEGORIES for char in raw):
        msg = "The name has control characters; use letters, digits, signs and spaces of any script."
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
    """A note: up to 1000 characters, of several lines if need be. Raises InvalidNote."""
    if any(unicodedata.category(char) in _FORBIDDEN_CATEGORIES and char not in "\n\t" for char in raw):
        msg = "The note has control characters; line breaks and tabs are fine, others are not."
        raise InvalidNote(msg)
    if len(raw) > NOTE_MAX_CHARS:
        msg = f"The note has {len(raw)} characters; at most {NOTE_MAX_CHARS} are kept."
        raise InvalidNote(msg)
    return raw
