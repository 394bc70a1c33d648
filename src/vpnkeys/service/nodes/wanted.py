"""What nodes elsewhere should have, and which of it an agent's word confirms."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from vpnkeys.domain.change import Stop
from vpnkeys.domain.key import ID, Key, Keys
from vpnkeys.domain.limits import Status
from vpnkeys.domain.nodes import Confirmed


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a node should have. `mark` names exactly these keys.

    `revision` is that of the database when this process first found that the node should have this, `looked` the one of
    now. A ticket is such a revision, which an agent gets with a mark and says again with it: at that revision the node
    should have had that. So tickets are valid for all servers on a database, and after each start.
    """

    keys: Keys
    mark: str
    revision: int
    looked: int
    since: float

    @property
    def ticket(self) -> str:
        """The ticket that an agent gets with this."""
        return str(self.looked)

    def again(self, keys: Keys, revision: int) -> "Wanted":
        """Return the same, as it is wanted at this revision; a database that was put back may be at an earlier one."""
        return replace(self, keys=keys, revision=min(self.revision, revision), looked=revision)

    def is_had(self, found: Confirmed | None) -> bool:
        """Return whether a node that has confirmed this has it, or what was wanted later."""
        if found is None:
            return False
        return found.revision >= self.looked or (found.mark == self.mark and found.revision >= self.revision)

    def is_told(self, mark: str, ticket: str) -> bool:
        """Return whether an agent that says these was told that its node should have what it should have now.

        One that knows of no tickets cannot be told more than the mark.
        """
        return mark == self.mark and (not ticket or self.revision <= _revision_in(ticket) <= self.looked)

    def ticket_for(self, mark: str, ticket: str) -> str:
        """Return the ticket for an agent that says these: its own while that will do."""
        return ticket if ticket and self.is_told(mark, ticket) else self.ticket

    def confirmed_by(self, mark: str, failed: Mapping[str, str], ticket: str) -> Confirmed | None:
        """Return what an agent confirms by these; None for what says nothing of this database.

        Without a ticket only what is wanted now is known.
        """
        if not ticket:
            return Confirmed(mark, self.looked, failed) if mark == self.mark else None
        revision = _revision_in(ticket)
        return Confirmed(mark, revision, failed) if mark and 0 <= revision <= self.looked else None


def _revision_in(ticket: str) -> int:
    """Return the revision that a ticket is; -1 for what is none."""
    return int(ticket) if ticket.isascii() and ticket.isdecimal() else -1


def leaving(node_id: int, keys: Keys, stops: Iterable[Stop]) -> dict[str, Key]:
    """Return keys that live elsewhere now, as their former node has to have them, by id: stopped.

    They are not gone there before that node has said what it has counted of them, and nothing of their present links
    is said there.
    """
    former = ((keys.by(ID).get(stop.key_id), stop) for stop in stops if stop.node_id == node_id)
    return {
        key.id: Key(
            id=key.id,
            name=key.id,
            uuid=key.account,
            created_at=key.created_at,
            is_active=False,
            port=stop.port,
            short_id=hashlib.sha256(key.id.encode()).hexdigest()[:16],
            sni=key.sni,
            flow=key.flow,
        )
        for key, stop in former
        if key is not None and key.node.id != node_id and not stop.is_confirmed
    }


def mark_of(keys: Iterable[Key]) -> str:
    """Return what tells these keys, as a node has them, from all others: names and notes do not count.

    That the traffic of one is used up here does: the node may not know of all that was counted elsewhere.
    """
    told = [
        (key.id, key.uuid, key.account, key.is_active, key.port, key.short_id, key.sni, key.flow, key.limits)
        + (("used up",) if key.limit_status is Status.LIMITED else ())
        for key in keys
    ]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:32]
