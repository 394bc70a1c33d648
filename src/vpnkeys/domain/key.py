"""Keys. A key is one customer's access, with its own port, short id and server name."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from vpnkeys.domain.errors import InvalidName, InvalidNote, KeyNotFound
from vpnkeys.domain.limits import NO_LIMITS, Limits, Status, window_start
from vpnkeys.domain.reality import Fingerprint

NAME_MAX_CHARS = 128
NOTE_MAX_CHARS = 1000
VISION = "xtls-rprx-vision"
KEY_TAG_PREFIX = "key-"

# Cc: control characters; Cs: lone surrogates, which have no UTF-8.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs"})


@dataclass(frozen=True, slots=True)
class Key:
    """A key as the database holds it.

    `uuid` is the VLESS id. `first_uuid` is the one that the key was made with; empty unless it has another by now.
    `created_at` is UTC without an offset. `short_id` is hex:
    16 digits for keys made here, fewer for some imported ones. `flow` is empty only for imported keys whose links never
    had Vision. `port_assigned_at` is None while the key still has its first port. `is_active` is the operator's switch;
    `limit_status` is the result of the last check of the key's limits. `fingerprint` is None where the key follows the
    server's setting.
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
    fingerprint: Fingerprint | None = None
    first_uuid: str = ""

    @property
    def account(self) -> str:
        """The email of the key's counters in Xray, and the name of its traffic in the database: its first UUID.

        It stays when the key gets another UUID, so that counters go on and no byte is lost or counted twice.
        """
        return self.first_uuid or self.uuid

    @property
    def status(self) -> Status:
        """Whether the key works, and the reason if it does not: the operator's switch comes before the limits."""
        return self.limit_status if self.is_active else Status.DISABLED

    @property
    def serves(self) -> bool:
        """Whether customers can connect with this key."""
        return self.status is Status.ACTIVE

    @property
    def tag(self) -> str:
        """The tag of this key's inbound in Xray, `key-<id>`."""
        return f"{KEY_TAG_PREFIX}{self.id}"


def windows_of(keys: Iterable[Key], now: datetime) -> dict[str, datetime | None]:
    """Return where the present window begins of each key that has a traffic limit, by account: see `window_start`."""
    limited = (key for key in keys if key.limits.traffic_bytes is not None)
    return {key.account: window_start(key.limits.traffic_window, now) for key in limited}


def parse_name(raw: str) -> str:
    """Return the name without surrounding white space.

    Raises InvalidName when nothing is left, when it has more than 128 characters, or when it holds control
    characters or lone surrogates. Letters of all scripts are allowed.
    """
    if any(unicodedata.category(char) in _FORBIDDEN_CATEGORIES for char in raw):
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
    if any(unicodedata.category(char) in _FORBIDDEN_CATEGORIES and char not in "\n\t" for char in raw):
        msg = "The note has control characters; remove all but line breaks and tabs."
        raise InvalidNote(msg)
    if len(raw) > NOTE_MAX_CHARS:
        msg = f"The note has {len(raw)} characters; give at most {NOTE_MAX_CHARS}."
        raise InvalidNote(msg)
    return raw


def find(keys: Iterable[Key], id_or_uuid: str) -> Key:
    """Return the key with this id or UUID. Raises KeyNotFound."""
    spellings = spellings_of(id_or_uuid)
    for key in keys:
        if key.id in spellings or key.uuid in spellings:
            return key
    msg = "There is no key with this id or UUID; GET /api/keys lists those that are."
    raise KeyNotFound(msg)


def spellings_of(id_or_uuid: str) -> frozenset[str]:
    """Return how an id may be stored: as it was sent, and in lower case, as all are that were made here.

    UUIDs are the same in any case (RFC 9562, 4). Ids that were imported may have capitals of their own.
    """
    return frozenset((id_or_uuid, id_or_uuid.lower()))
