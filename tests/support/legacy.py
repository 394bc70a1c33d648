"""Installations of the 2.3 line as people have them: database, config.json and keys.env, with what is odd about them.

Written from the outside, sharing no code with the product but the key pair's arithmetic: what a reader misunderstands
must not be misunderstood here in the same way.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.link import VlessLink
from vpnkeys.domain.reality import KeyPair

VISION = "xtls-rprx-vision"

_SCHEMA = """
CREATE TABLE keys (
    id TEXT PRIMARY KEY, name TEXT, uuid TEXT, created_at TEXT, is_active INTEGER DEFAULT 1,
    port INTEGER, short_id TEXT, sni TEXT
);
CREATE TABLE port_assignments (
    port INTEGER, uuid TEXT, key_id TEXT, key_name TEXT, assigned_at TEXT, is_active INTEGER DEFAULT 1
);
CREATE TABLE traffic_history (key_uuid TEXT, payload TEXT, created_at TEXT, last_update TEXT);
"""


@dataclass(frozen=True)
class OldKey:
    """One customer of the old server, as Xray serves him, and what the database says where that is something else.

    `row` overrides columns of its row in `keys`, `assignment` in `port_assignments` (None: no row), `payload` is the
    raw payload of its traffic (None: no row). `served=False` leaves its inbound out of config.json.
    """

    name: str
    port: int
    short_id: str
    sni: str
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    flow: str | None = VISION
    """None: the inbound's client has no such field."""
    created_at: str | int | float | None = "2025-08-05T12:00:00.000000"
    is_active: bool = True
    total_bytes: int = 0
    served: bool = True
    server_names: tuple[str, ...] = ()
    row: dict[str, object] = field(default_factory=dict)
    assignment: dict[str, object] | None = field(default_factory=dict)
    payload: str | None = ""
    inbound: dict[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, object]:
        """The row in `keys`."""
        own = ("id", "name", "uuid", "created_at", "port", "short_id", "sni")
        return {name: getattr(self, name) for name in own} | {"is_active": int(self.is_active)} | self.row


@dataclass
class OldServer:
    """An old installation in a directory of its own; `write` puts its three files there."""

    directory: Path
    keys: Sequence[OldKey]
    target: str = "www.example.com:443"
    pair: KeyPair = field(default_factory=KeyPair.new)
    public_key: str = ""
    """What keys.env says, where that is not the pair's."""
    api_port: int = 10085
    more_rows: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    more_inbounds: list[dict[str, Any]] = field(default_factory=list)

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.directory / "vpn.db"

    @property
    def config(self) -> Path:
        """The config.json that the old Xray runs with."""
        return self.directory / "config.json"

    @property
    def env(self) -> Path:
        """The key pair."""
        return self.directory / "keys.env"

    @property
    def arguments(self) -> list[str]:
        """The options that name the three files."""
        return ["--database", str(self.database), "--config", str(self.config), "--keys", str(self.env)]

    def with_keys(self, *keys: OldKey) -> OldServer:
        """The same server with other keys."""
        return replace(self, keys=keys)

    def write(self) -> OldServer:
        """Write everything; files of an earlier time are replaced."""
        self.directory.mkdir(exist_ok=True)
        for old in self.directory.iterdir():
            old.unlink()
        self._write_database()
        self.config.write_text(json.dumps(self.document(), indent=2))
        self.env.write_text(self.env_text())
        return self

    def env_text(self) -> str:
        """The contents of keys.env."""
        public_key = self.public_key or self.pair.public_key
        return f"PRIVATE_KEY={self.pair.private_key}\nPUBLIC_KEY={public_key}\n"

    def tables(self) -> dict[str, list[dict[str, object]]]:
        """The rows of all tables."""
        tables: dict[str, list[dict[str, object]]] = {"keys": [], "port_assignments": [], "traffic_history": []}
        for key in self.keys:
            tables["keys"].append(key.columns)
            if key.assignment is not None:
                tables["port_assignments"].append(_assignment(key) | key.assignment)
            if key.payload is not None:
                tables["traffic_history"].append(_history(key))
        for table, rows in self.more_rows.items():
            tables[table] += rows
        return tables

    def document(self) -> dict[str, Any]:
        """The contents of config.json."""
        inbounds = [self._inbound(key) for key in self.keys if key.served]
        api = {
            "tag": "api",
            "listen": "127.0.0.1",
            "port": self.api_port,
            "protocol": "dokodemo-door",
            "settings": {"address": "127.0.0.1"},
        }
        return {
            "log": {"loglevel": "warning"},
            "stats": {},
            "inbounds": [api, *inbounds, *self.more_inbounds],
            "outbounds": [{"protocol": "freedom", "tag": "direct"}],
        }

    def link(self, key: OldKey) -> str:
        """The link that the old server gave out for a key of which it knew the flow."""
        flow = f"&flow={key.flow}" if key.flow else ""
        public_key = self.public_key or self.pair.public_key
        return (
            f"vless://{key.uuid}@127.0.0.1:{key.port}?security=reality&sni={key.sni}&fp=chrome&pbk={public_key}"
            f"&sid={key.short_id}&type=tcp{flow}#{key.name}"
        )

    def _write_database(self) -> None:
        with closing(sqlite3.connect(self.database)) as connection:
            connection.executescript(_SCHEMA)
            for table, rows in self.tables().items():
                for row in rows:
                    columns, marks = ", ".join(row), ", ".join("?" * len(row))
                    statement = f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608 - names from above
                    connection.execute(statement, tuple(row.values()))
            connection.commit()

    def _inbound(self, key: OldKey) -> dict[str, Any]:
        client = {"id": key.uuid, "email": key.uuid} | ({} if key.flow is None else {"flow": key.flow})
        return {
            "tag": f"inbound-{key.uuid}",
            "listen": "127.0.0.1",
            "port": key.port,
            "protocol": "vless",
            "settings": {"clients": [client], "decryption": "none"},
            "streamSettings": {
                "network": "tcp",
                "security": "reality",
                "realitySettings": {
                    "show": False,
                    "dest": self.target,
                    "xver": 0,
                    "serverNames": list(key.server_names or (key.sni,)),
                    "privateKey": self.pair.private_key,
                    "shortIds": [key.short_id],
                },
            },
        } | key.inbound


def _assignment(key: OldKey) -> dict[str, object]:
    return {
        "port": key.port,
        "uuid": key.uuid,
        "key_id": key.id,
        "key_name": key.name,
        "assigned_at": "2025-08-05T12:00:00.250000",
        "is_active": int(key.is_active),
    }


def _history(key: OldKey) -> dict[str, object]:
    up = key.total_bytes // 3
    payload = {"total_bytes": key.total_bytes, "last_xray_stats": {"uplink": up, "downlink": key.total_bytes - up}}
    return {
        "key_uuid": key.uuid,
        "payload": key.payload or json.dumps(payload),
        "created_at": "2025-08-05T12:00:01",
        "last_update": "2025-11-21T16:00:00",
    }


def parse_old_link(text: str) -> VlessLink:
    """What a client makes of a link of the old server: shorter ids, and a flow only where it is written."""
    parts = urlsplit(text)
    values = {name: value for name, (value,) in parse_qs(parts.query, strict_parsing=True).items()}
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"no link: {text}")
    return VlessLink(
        uuid=parts.username or "",
        host=parts.hostname,
        port=parts.port,
        sni=values["sni"],
        public_key=values["pbk"],
        short_id=values["sid"],
        name=unquote(parts.fragment),
        fingerprint=values["fp"],
        flow=values.get("flow", ""),
    )


def realistic_keys(ports: Sequence[int], names: Sequence[str]) -> list[OldKey]:
    """Customers of all ages: today's kind, an early one, one without Vision, one the tables know only in part."""
    first, last = names[0], names[-1]
    known_by_config: dict[str, object] = {
        "port": None,
        "short_id": None,
        "sni": None,
        "created_at": None,
        "is_active": None,
    }
    return [
        OldKey("today@example.com", ports[0], "5f9c2b7adfe7d8ab", first, total_bytes=1_234_567),
        OldKey("early", ports[1], "a1b2c3d4", last, created_at="2024-01-02 03:04:05+03:00", total_bytes=5),
        OldKey("plain", ports[2], "0123456789abcdef", first, flow="", total_bytes=2**40),
        OldKey("no-flow-field", ports[3], "00ff00ff00ff00ff", last, flow=None, created_at="2025-01-01T00:00:00Z"),
        OldKey("half-known", ports[4], "fedcba9876543210", first, row=known_by_config, total_bytes=77),
        OldKey("many-names", ports[5], "1111222233334444", last, server_names=tuple(names), created_at=1_735_689_600),
        OldKey("asleep", ports[6], "9999888877776666", first, is_active=False, served=False, payload=None),
    ]
