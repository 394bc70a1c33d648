"""Converts keys, tokens and records of the audit log to rows and back."""

from collections.abc import Mapping
from dataclasses import asdict, astuple, fields
from datetime import datetime
from typing import Any

import orjson

from vpnkeys.domain.actor import Actor
from vpnkeys.domain.audit import Entry, Facts, Outcome, Record
from vpnkeys.domain.change import Intent, Stop
from vpnkeys.domain.flow import Flow
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits, Status, Window
from vpnkeys.domain.nodes import NodeRecord, NodeRef, NodeState
from vpnkeys.domain.nodes.door import Door, Member
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.reality import Fingerprint
from vpnkeys.domain.subscription import Subscription
from vpnkeys.domain.token import Scope, Token

# Columns with the name and the value of the key's own field.
_PLAIN = ("id", "name", "created_at", "is_active", "port", "short_id", "port_assigned_at")
_ALIKE = ("sni", "flow", "note")
"""The same, of which many keys have one value."""
_OF_LIMITS = (
    "traffic_limit_window",
    "expires_at",
    "expires_after_s",
    "traffic_limit_bytes",
    "max_devices",
    "speed_limit_mbps",
)
_LIMITS = ("expires_at", "expires_after_s", "traffic_bytes", "max_devices", "speed_mbps")

# Read from the value as it is for each change, where `asdict` copies every field.
_OF_INTENT, _OF_STOP = (tuple(field.name for field in fields(kind)) for kind in (Intent, Stop))


def to_row(key: Key) -> dict[str, object]:
    """Return the columns of a key."""
    limits = key.limits
    return {name: getattr(key, name) for name in (*_PLAIN, *_ALIKE)} | {
        "uuid": key.account,
        "new_uuid": key.uuid if key.first_uuid else None,
        "expires_at": limits.expires_at,
        "expires_after_s": limits.expires_after_s,
        "traffic_limit_bytes": limits.traffic_bytes,
        "traffic_limit_window": str(limits.traffic_window),
        "max_devices": limits.max_devices,
        "speed_limit_mbps": limits.speed_mbps,
        # The column has kept its first name, so that no database has to be migrated for a word.
        "judged": key.limit_status.value,
        "fingerprint": None if key.fingerprint is None else key.fingerprint.value,
        "node_id": key.node.id,
    }


class KeyReader:
    """Makes keys of rows. What many of them have alike is one object: there may be a hundred thousand keys."""

    def __init__(self, nodes: Mapping[int, NodeRef]) -> None:
        self._nodes = nodes
        self._alike: dict[object, Any] = {}

    def key(self, row: Mapping[Any, Any]) -> Key:
        """Return the key of a row, on one of the nodes by their ids."""
        own, new_uuid = row["fingerprint"], row["new_uuid"]
        return Key(
            **{name: row[name] for name in _PLAIN},
            **{name: self._alike.setdefault(row[name], row[name]) for name in _ALIKE},
            uuid=row["uuid"] if new_uuid is None else new_uuid,
            first_uuid="" if new_uuid is None else row["uuid"],
            limits=self._limits(tuple(row[name] for name in _OF_LIMITS)),
            limit_status=Status(row["judged"]),
            fingerprint=None if own is None else Fingerprint(own),
            node=self._nodes[row["node_id"]],
            number=row["number"],
        )

    def _limits(self, columns: tuple[Any, ...]) -> Limits:
        found: Limits | None = self._alike.get(columns)
        if found is None:
            window, *others = columns
            found = self._alike[columns] = Limits(
                traffic_window=Window(window), **dict(zip(_LIMITS, others, strict=True))
            )
        return found


def intent_row(intent: Intent) -> dict[str, object]:
    """Return the columns of an intent, but its owner."""
    return {name: getattr(intent, name) for name in _OF_INTENT}


def stop_row(stop: Stop) -> dict[str, object]:
    """Return the columns of a stop."""
    return {name: getattr(stop, name) for name in _OF_STOP}


def to_node(row: Mapping[Any, Any]) -> NodeRecord:
    """Return the node of a row."""
    first, last = row["first_port"], row["last_port"]
    return NodeRecord(
        NodeRef(row["id"], row["name"]),
        row["group_name"],
        row["weight"],
        row["max_keys"],
        NodeState(row["state"]),
        row["address"],
        None if first is None else PortRange(first, last),
        row["public_key"],
        row["token_digest"],
        row["private_key"],
        row["token_since"],
        row["next_digest"],
    )


def node_row(node: NodeRecord) -> dict[str, object]:
    """Return the columns of a node but its id, which the database gives."""
    return {
        "name": node.ref.name,
        "group_name": node.group,
        "weight": node.weight,
        "max_keys": node.max_keys,
        "state": node.state.value,
        "address": node.address,
        "first_port": None if node.ports is None else node.ports.first,
        "last_port": None if node.ports is None else node.ports.last,
        "public_key": node.public_key,
        "token_digest": node.token_digest,
        "private_key": node.private_key,
        "token_since": node.token_since,
        "next_digest": node.next_digest,
    }


def to_door(row: Mapping[Any, Any]) -> Door:
    """Return the door of a row."""
    lists = {name: tuple(orjson.loads(row[name])) for name in ("server_names", "short_ids")}
    found = (_member(*fields) for fields in orjson.loads(row["members"]))
    return Door(**{**row, **lists, "members": tuple(member for member in found if member is not None)})


def _member(key_id: str, uuid: str, flow: str, short_id: str, sni: str) -> Member | None:
    """Return a member of a door; None when Xray has no flow like that of its old link, which lets nobody in."""
    known = Flow.of_link(flow)
    return None if known is None else Member(key_id, uuid, known, short_id, sni)


def door_row(door: Door) -> dict[str, object]:
    """Return the columns of a door."""
    return asdict(door) | {
        "server_names": orjson.dumps(door.server_names).decode(),
        "short_ids": orjson.dumps(door.short_ids).decode(),
        "members": orjson.dumps([astuple(member) for member in door.members]).decode(),
    }


def token_row(token: Token) -> dict[str, object]:
    """Return the columns of a token."""
    return asdict(token) | {"scope": token.scope.value}


def to_token(row: Mapping[Any, Any]) -> Token:
    """Return the token of a row."""
    return Token(**{**row, "scope": Scope(row["scope"])})


def subscription_rows(subscription: Subscription) -> list[dict[str, object]]:
    """Return the columns of a subscription, a row for each of its keys."""
    same = {
        "id": subscription.id,
        "token_hash": subscription.token_hash,
        "created_at": subscription.created_at,
    }
    return [{**same, "key_id": key_id, "position": place} for place, key_id in enumerate(subscription.key_ids)]


def record_row(entry: Entry, actor: Actor, at: datetime, outcome: Outcome, detail: str) -> dict[str, object]:
    """Return the columns of a record."""
    return {
        "at": at,
        "actor": actor.name,
        "origin": actor.origin,
        "request_id": actor.request_id,
        "action": entry.action,
        "subject": entry.subject,
        "before": orjson.dumps(dict(entry.before)).decode() if entry.before else None,
        "after": orjson.dumps(dict(entry.after)).decode() if entry.after else None,
        "outcome": outcome.value,
        "detail": detail,
    }


def to_record(row: Mapping[Any, Any]) -> Record:
    """Return the record of a row."""
    return Record(
        id=row["id"],
        at=row["at"],
        actor=Actor(row["actor"], row["origin"], row["request_id"]),
        entry=Entry(row["action"], row["subject"], _facts(row["before"]), _facts(row["after"])),
        outcome=Outcome(row["outcome"]),
        detail=row["detail"],
    )


def _facts(stored: str | None) -> Facts:
    facts: dict[str, object] = orjson.loads(stored) if stored else {}
    return facts
