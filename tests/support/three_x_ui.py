"""Databases of 3x-ui as people have them, of each line of versions, made by SQL.

Written from the outside, sharing no code with the product but the key pair's arithmetic. The tables have the columns
that matter to an import, and some that must not; key pairs and UUIDs are made at run time.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vpnkeys.domain.reality import KeyPair

VISION = "xtls-rprx-vision"

_INBOUNDS = """
    id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER, up INTEGER, down INTEGER, total INTEGER, remark TEXT,
    enable NUMERIC, expiry_time INTEGER, listen TEXT, port INTEGER, protocol TEXT, settings TEXT, stream_settings TEXT,
    tag TEXT UNIQUE, sniffing TEXT"""
_TRAFFICS = """
    id INTEGER PRIMARY KEY AUTOINCREMENT, inbound_id INTEGER, enable NUMERIC, email TEXT UNIQUE, up INTEGER,
    down INTEGER, expiry_time INTEGER, total INTEGER, reset INTEGER DEFAULT 0"""
_RESETS = ', traffic_reset TEXT DEFAULT "never", last_traffic_reset_time INTEGER DEFAULT 0'

SCHEMAS = {
    "2.3": f"""
        CREATE TABLE inbounds ({_INBOUNDS}, allocate TEXT);
        CREATE TABLE client_traffics ({_TRAFFICS});
        """,
    "2.8": f"""
        CREATE TABLE inbounds ({_INBOUNDS}, all_time INTEGER DEFAULT 0 {_RESETS});
        CREATE TABLE client_traffics ({_TRAFFICS}, all_time INTEGER DEFAULT 0, last_online INTEGER DEFAULT 0);
        """,
    "3.6": f"""
        CREATE TABLE inbounds ({_INBOUNDS} {_RESETS}, traffic_reset_day INTEGER DEFAULT 1, node_id INTEGER,
            share_addr TEXT, disable_flow NUMERIC DEFAULT false);
        CREATE TABLE client_traffics ({_TRAFFICS}, reset_day INTEGER DEFAULT 0, last_online INTEGER DEFAULT 0);
        CREATE TABLE clients (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL, sub_id TEXT, uuid TEXT,
            flow TEXT, limit_ip INTEGER, limit_hwid INTEGER DEFAULT 0, total_gb INTEGER, expiry_time INTEGER,
            enable NUMERIC DEFAULT true, comment TEXT, reset INTEGER DEFAULT 0, traffic_reset TEXT DEFAULT "never",
            traffic_reset_day INTEGER DEFAULT 1, created_at INTEGER, updated_at INTEGER);
        CREATE TABLE client_inbounds (client_id INTEGER, inbound_id INTEGER, flow_override TEXT, created_at INTEGER,
            PRIMARY KEY (client_id, inbound_id));
        """,
}


@dataclass(frozen=True)
class XuiClient:
    """A customer. `more` has fields of his JSON, `traffic` columns of his traffic; `email` None: he has none."""

    email: str | None
    up: int = 0
    down: int = 0
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    more: dict[str, object] = field(default_factory=dict)
    traffic: dict[str, object] = field(default_factory=dict)

    @property
    def used(self) -> int:
        """Both ways."""
        return self.up + self.down

    def document(self) -> dict[str, object]:
        """The customer in the settings of an inbound."""
        usual: dict[str, object] = {"id": self.uuid, "flow": VISION, "email": self.email, "enable": True}
        none = dict.fromkeys(["limitIp", "totalGB", "expiryTime", "reset"], 0)
        return {**usual, **none, "tgId": "", "subId": uuid.uuid4().hex[:16], "comment": "", **self.more}


@dataclass(frozen=True)
class XuiInbound:
    """An inbound that its customers share. `stream` and `columns` override what is usual."""

    clients: Sequence[XuiClient]
    port: int = 443
    remark: str = "shared"
    protocol: str = "vless"
    pair: KeyPair = field(default_factory=KeyPair.new)
    short_ids: Sequence[str] = ("5f9c2b7adfe7d8ab",)
    server_names: Sequence[str] = ("www.example.com",)
    target: str = "www.example.com:443"
    stream: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, object] = field(default_factory=dict)

    def stream_settings(self) -> dict[str, Any]:
        """The transport, as the panel stores it and Xray takes it."""
        reality = {
            "show": False,
            "xver": 0,
            "dest": self.target,
            "serverNames": list(self.server_names),
            "privateKey": self.pair.private_key,
            "shortIds": list(self.short_ids),
            "settings": {"publicKey": self.pair.public_key, "fingerprint": "firefox", "spiderX": "/"},
        }
        return {"network": "tcp", "security": "reality", "realitySettings": reality, **self.stream}

    def settings(self) -> dict[str, Any]:
        """The customers, as the panel stores them."""
        return {"clients": [client.document() for client in self.clients], "decryption": "none", "fallbacks": []}


@dataclass
class XuiDatabase:
    """A database of one version. With `in_tables` the customers of 3.x are in its tables alone, not in the JSON."""

    path: Path
    inbounds: Sequence[XuiInbound]
    version: str = "2.8"
    in_tables: bool = False
    more_traffic: Sequence[tuple[str, int]] = ()
    """Emails with bytes, of customers who are in no inbound."""

    def write(self) -> XuiDatabase:
        """Write it, in place of an earlier one."""
        self.path.parent.mkdir(exist_ok=True)
        self.path.unlink(missing_ok=True)
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(SCHEMAS[self.version])
            for number, inbound in enumerate(self.inbounds, 1):
                self._write_inbound(connection, number, inbound)
            for email, used in self.more_traffic:
                _insert(
                    connection,
                    "client_traffics",
                    {"inbound_id": 99, "enable": 1, "email": email, "up": 0, "down": used},
                )
            connection.commit()
        return self

    def used(self) -> int:
        """The sum of all that anybody has used, as SQL has it."""
        with closing(sqlite3.connect(self.path)) as connection:
            (found,) = connection.execute("SELECT sum(up + down) FROM client_traffics").fetchone()
        return int(found)

    def _write_inbound(self, connection: sqlite3.Connection, number: int, inbound: XuiInbound) -> None:
        settings = inbound.settings()
        if self.in_tables:
            settings["clients"] = []
        row: dict[str, object] = {
            "id": number,
            "user_id": 1,
            "up": 5,
            "down": 7,
            "total": 0,
            "remark": inbound.remark,
            "enable": 1,
            "expiry_time": 0,
            "listen": "",
            "port": inbound.port,
            "protocol": inbound.protocol,
            "settings": json.dumps(settings, indent=2),
            "stream_settings": json.dumps(inbound.stream_settings()),
            "tag": f"inbound-{inbound.port}",
            "sniffing": "{}",
        }
        _insert(connection, "inbounds", row | inbound.columns)
        for client in inbound.clients:
            self._write_client(connection, number, client)

    def _write_client(self, connection: sqlite3.Connection, number: int, client: XuiClient) -> None:
        document = client.document()
        traffic: dict[str, object] = {
            "inbound_id": number,
            "enable": int(bool(document["enable"])),
            "email": client.email,
            "up": client.up,
            "down": client.down,
            "expiry_time": document["expiryTime"],
            "total": document["totalGB"],
        }
        known = "SELECT count(*) FROM client_traffics WHERE email = ?"
        if client.email is not None and connection.execute(known, [client.email]).fetchone() == (0,):
            _insert(connection, "client_traffics", traffic | client.traffic)
        if self.version.startswith("3"):
            self._write_tables(connection, number, client, document)

    def _write_tables(
        self, connection: sqlite3.Connection, number: int, client: XuiClient, document: dict[str, Any]
    ) -> None:
        found = connection.execute("SELECT id FROM clients WHERE email = ?", [client.email]).fetchone()
        if found is None:
            names = {"limit_ip": "limitIp", "total_gb": "totalGB", "expiry_time": "expiryTime", "enable": "enable"}
            names |= {"comment": "comment", "reset": "reset", "flow": "flow", "uuid": "id", "email": "email"}
            names |= {
                "traffic_reset": "trafficReset",
                "traffic_reset_day": "trafficResetDay",
                "created_at": "created_at",
            }
            row = {column: document[name] for column, name in names.items() if name in document}
            found = [_insert(connection, "clients", row)]
        _insert(connection, "client_inbounds", {"client_id": found[0], "inbound_id": number, "flow_override": VISION})


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> int | None:
    statement = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"  # noqa: S608 - from above
    return connection.execute(statement, tuple(row.values())).lastrowid
