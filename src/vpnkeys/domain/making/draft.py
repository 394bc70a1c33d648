"""What a caller decides about a key."""

import re
from dataclasses import dataclass, replace

from vpnkeys.domain.errors import InvalidChoice
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import NO_LIMITS, Limits
from vpnkeys.domain.reality import Fingerprint, is_short_id

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Choices:
    """What a caller chose of a new key, all in lower case; the server chooses what is None.

    So a customer's link from another server can work here as it is.
    """

    uuid: str | None = None
    short_id: str | None = None
    sni: str | None = None
    port: int | None = None


NO_CHOICES = Choices()


@dataclass(frozen=True, slots=True)
class Draft:
    """Holds what a caller may decide about a key. `name` and `note` have been parsed.

    `choices` are for new keys; of a key that exists only the port can be chosen, 0 for the lowest free one.
    """

    name: str
    note: str = ""
    limits: Limits = NO_LIMITS
    is_active: bool = True
    fingerprint: Fingerprint | None = None
    choices: Choices = NO_CHOICES

    def applied_to(self, key: Key) -> Key:
        """Return a key that exists with all that this decides about it, but for its port."""
        return replace(
            key,
            name=self.name,
            note=self.note,
            limits=self.limits,
            is_active=self.is_active,
            fingerprint=self.fingerprint,
        )


def parse_choices(
    uuid: str | None = None, short_id: str | None = None, sni: str | None = None, port: int | None = None
) -> Choices:
    """Return the choices, in lower case. Raises InvalidChoice for a text that is no UUID or no short id."""
    if uuid is not None and _UUID.fullmatch(uuid := uuid.lower()) is None:
        msg = "uuid: give a UUID such as 0ca2b2d8-5f6c-4e0c-9d3d-2a4a1b7f9a10, or leave it out for a random one."
        raise InvalidChoice(msg)
    if short_id is not None and not is_short_id(short_id := short_id.lower()):
        msg = "short_id: give 2 to 16 hex digits, an even number of them, or leave it out for a random one."
        raise InvalidChoice(msg)
    return Choices(uuid, short_id, None if sni is None else sni.lower(), port)
