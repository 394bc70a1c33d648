"""Doors: inbounds of another panel that stay until they are closed, so that the old links of imported keys go on."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from vpnkeys.domain.flow import Flow
from vpnkeys.domain.key import ACCOUNT, Key, Keys
from vpnkeys.domain.reality import pad_short_id

DOOR_TAG_PREFIX = "vpnkeys-door-"
"""Begins as all our own tags do, so that no inbound of an operator is taken for a door."""


@dataclass(frozen=True, slots=True)
class Member:
    """A key that a door lets in: by the UUID of its old link, which is its account, as long as its own link is as then.

    A key that gets another UUID, short id or server name leaves its doors, because its old links must be out at once.
    """

    key_id: str
    uuid: str
    flow: Flow
    short_id: str
    sni: str

    @classmethod
    def of(cls, key: Key, flow: Flow) -> "Member":
        """Return what lets this key in, with the flow of its old link."""
        return cls(key.id, key.uuid, flow, key.whole_short_id, key.sni)

    def is_let_in(self, key: Key) -> bool:
        """Return whether the key gets in now. One with a speed limit does not: those are by port."""
        is_as_then = (key.uuid, key.whole_short_id, key.sni) == (self.uuid, self.short_id, self.sni)
        return key.serves and is_as_then and key.limits.speed_mbps is None


@dataclass(frozen=True)
class Door:
    """An inbound of another panel, with its port and its key pair.

    `listen` is the address that it had there, "" for that of all inbounds here. `short_ids` have all their digits.
    """

    tag: str
    port: int
    target: str
    server_names: tuple[str, ...]
    private_key: str = field(repr=False)
    short_ids: tuple[str, ...]
    members: tuple[Member, ...] = field(repr=False)
    listen: str = ""
    is_closing: bool = False

    @cached_property
    def by_key(self) -> Mapping[str, Member]:
        """All members by the ids of their keys."""
        return {member.key_id: member for member in self.members}

    def let_in(self, keys: Keys) -> Iterator[Member]:
        """Yield the members that get in now, in the order of their UUIDs."""
        known = keys.by(ACCOUNT)
        for member in sorted(self.members, key=lambda member: member.uuid):
            key = known.get(member.uuid)
            if key is not None and key.id == member.key_id and member.is_let_in(key):
                yield member

    def has_any(self, key_ids: Collection[str]) -> bool:
        """Return whether one of these keys may be a member."""
        return not self.by_key.keys().isdisjoint(key_ids)


def is_door(tag: str) -> bool:
    """Return whether an inbound with this tag is a door."""
    return tag.startswith(DOOR_TAG_PREFIX)


def tag_of_door(tag: str, port: int) -> str:
    """Return the tag of a door: that of the other panel, without what a tag cannot have here."""
    plain = "".join(one if one.isascii() and (one.isalnum() or one in "-_.") else "-" for one in tag)[:40].strip("-")
    return f"{DOOR_TAG_PREFIX}{plain or port}"


def whole_short_ids(short_ids: Collection[str]) -> tuple[str, ...]:
    """Return short ids with all their digits, each once."""
    return tuple(dict.fromkeys(map(pad_short_id, short_ids)))
