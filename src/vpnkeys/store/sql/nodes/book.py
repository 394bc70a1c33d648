"""Stores nodes inside a transaction, and reads how they were seen."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, text, update

from vpnkeys.domain.change import KeptAnswer
from vpnkeys.domain.making.placing import Placing
from vpnkeys.domain.nodes import NOBODY, Confirmed, HostState, Join, NodeRecord, Sighting
from vpnkeys.domain.nodes.door import Door
from vpnkeys.store.sql.nodes.placing import delete_placings, is_known_answer, read_placing, write_placings
from vpnkeys.store.sql.nodes.tables import doors, joins, nodes, sightings
from vpnkeys.store.sql.rows import door_row, node_row
from vpnkeys.store.sql.tables import idempotency

_NOTIFY = text("SELECT pg_notify('vpnkeys', '')")
"""As triggers do for tables that are kept in memory: the request that waits may be another control plane's."""
_IS_OF = sightings.c.node_id == bindparam("of_node")
_CONFIRMED = select(sightings.c.mark, sightings.c.revision, sightings.c.failed).where(_IS_OF)
_SEEN, _FIRST_SEEN = update(sightings).where(_IS_OF), insert(sightings)


@dataclass(frozen=True, slots=True)
class SqlNodes:
    """Implements `interfaces.NodeBook` on one connection."""

    _connection: Connection

    def add(self, node: NodeRecord) -> NodeRecord:
        """Add a node and return it with its id."""
        number = self._connection.execute(insert(nodes).values(node_row(node)).returning(nodes.c.id)).scalar_one()
        return replace(node, ref=node.ref._replace(id=number))

    def put(self, node: NodeRecord) -> None:
        """Change the node with this one's id."""
        self._connection.execute(update(nodes).where(nodes.c.id == node.ref.id).values(node_row(node)))

    def remove(self, node_id: int) -> None:
        """Remove a node that has no keys."""
        self._connection.execute(delete(nodes).where(nodes.c.id == node_id))

    def put_join(self, join: Join) -> None:
        """Let an agent join, by this alone: earlier joins of the node that were not used are void."""
        unused = (joins.c.node_id == join.node_id) & joins.c.used_at.is_(None)
        self._connection.execute(update(joins).where(unused).values(used_at=joins.c.expires_at))
        self._connection.execute(insert(joins).values(asdict(join)))

    def take_join(self, digest: str, at: datetime) -> int | None:
        """Use a join up and return the id of its node."""
        usable = (joins.c.digest == digest) & joins.c.used_at.is_(None) & (joins.c.expires_at > at)
        taken = update(joins).where(usable).values(used_at=at).returning(joins.c.node_id)
        node_id: int | None = self._connection.execute(taken).scalar()
        if node_id is not None:  # what the agent before has confirmed, this one does not have
            forgotten = {"mark": "", "revision": 0, "failed": "{}"}
            self._connection.execute(update(sightings).where(sightings.c.node_id == node_id).values(forgotten))
        return node_id

    def place(self, placings: Iterable[Placing]) -> None:
        """Want keys of nodes."""
        write_placings(self._connection, placings)

    def placings(self) -> tuple[Placing, ...]:
        """Return all keys that are being placed."""
        return read_placing(self._connection)

    def drop_placings(self, key_ids: Collection[str], owner: str | None = None) -> int:
        """Want these keys no more than as they are stored; return how many were placed."""
        return delete_placings(self._connection, key_ids, owner)

    def is_known(self, answer_hash: str, since: datetime) -> bool:
        """Return whether a request was answered since then, or is being carried out."""
        return is_known_answer(self._connection, answer_hash, since)

    def put_sighting(self, node_id: int, sighting: Sighting, online: Mapping[str, int] = NOBODY) -> None:
        """Store how a node was last seen, and who was online there."""
        row: dict[str, object] = {name: getattr(sighting, name) for name in ("at", "version", "xray_version")}
        row |= {"names": ",".join(sighting.names), "online": json.dumps(dict(online))} | asdict(sighting.host)
        if (found := sighting.confirmed) is not None:
            row |= {"mark": found.mark, "revision": found.revision, "failed": json.dumps(dict(found.failed))}
            if self._connection.dialect.name == "postgresql":
                self._connection.execute(_NOTIFY)
        if not self._connection.execute(_SEEN, row | {"of_node": node_id}).rowcount:
            self._connection.execute(_FIRST_SEEN, row | {"node_id": node_id})

    def confirmed(self, node_id: int) -> Confirmed | None:
        """Return what a node has confirmed last."""
        found = self._connection.execute(_CONFIRMED, {"of_node": node_id}).first()
        return None if found is None else _confirmed(found)

    def put_silent(self, node_id: int, *, is_silent: bool) -> None:
        """Store whether webhooks are notified of a node's silence."""
        here = sightings.c.node_id == node_id
        self._connection.execute(update(sightings).where(here).values(is_silent=is_silent))

    def put_door(self, door: Door) -> None:
        """Add a door, or replace the one with its tag."""
        self.remove_door(door.tag)
        self._connection.execute(insert(doors).values(door_row(door)))

    def remove_door(self, tag: str) -> None:
        """Remove a door, if there is one with this tag."""
        self._connection.execute(delete(doors).where(doors.c.tag == tag))


def read_answer(connection: Connection, key_hash: str, since: datetime) -> KeptAnswer | None:
    """Return the answer that was stored under this hash since then, None when there is none."""
    found = select(idempotency).where(idempotency.c.key_hash == key_hash, idempotency.c.created_at >= since)
    row = connection.execute(found).first()
    return None if row is None else KeptAnswer(*row)


def knows_join(connection: Connection, digest: str) -> bool:
    """Return whether there was ever a join with this digest."""
    return connection.execute(select(joins.c.node_id).where(joins.c.digest == digest)).first() is not None


def read_sightings(connection: Connection, node_id: int | None) -> Mapping[int, Sighting]:
    """Return how nodes were last seen, by id; None: all of them."""
    wanted = select(*(column for column in sightings.c if column is not sightings.c.online))
    if node_id is not None:
        wanted = wanted.where(sightings.c.node_id == node_id)
    return {
        row.node_id: Sighting(
            row.at,
            row.version,
            row.xray_version,
            tuple(filter(None, row.names.split(","))),
            _confirmed(row),
            row.is_silent,
            HostState(row.cpu_share, row.clock_ahead_s),
        )
        for row in connection.execute(wanted)
    }


def read_online(connection: Connection, since: datetime, until: datetime) -> Mapping[str, int]:
    """Return from how many devices keys are online on nodes that were seen between these, by account."""
    at = sightings.c.at
    heard = connection.scalars(select(sightings.c.online).where(at > since, at < until).order_by(at))
    return {account: devices for online in heard for account, devices in json.loads(online).items()}


def _confirmed(row: Row[*tuple[Any, ...]]) -> Confirmed | None:
    return Confirmed(row.mark, row.revision, json.loads(row.failed)) if row.mark else None
