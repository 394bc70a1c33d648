"""Databases of Marzban, of its first versions and of later ones, the answer of its API, and its xray_config.json.

Written from the outside, with the columns that matter to an import; key pairs and UUIDs are made at run time.
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

_USERS = """
    id INTEGER NOT NULL PRIMARY KEY, username VARCHAR(34), status VARCHAR(8), used_traffic BIGINT, data_limit BIGINT,
    expire INTEGER, created_at DATETIME"""
_PROXIES = "CREATE TABLE proxies (id INTEGER PRIMARY KEY, user_id INTEGER, type VARCHAR(11) NOT NULL, settings JSON);"

SCHEMAS = {
    "first": f"CREATE TABLE users ({_USERS}, proxy_type VARCHAR(11) NOT NULL, settings JSON NOT NULL);",
    "0.2": f"CREATE TABLE users ({_USERS}); {_PROXIES}",
    "0.8": f"""
        CREATE TABLE users ({_USERS}, data_limit_reset_strategy VARCHAR(8) DEFAULT 'no_reset', note VARCHAR(500),
            on_hold_timeout DATETIME, on_hold_expire_duration BIGINT, auto_delete_in_days INTEGER);
        {_PROXIES}
        CREATE TABLE inbounds (id INTEGER PRIMARY KEY, tag VARCHAR(256) NOT NULL);
        CREATE TABLE exclude_inbounds_association (proxy_id INTEGER, inbound_tag VARCHAR(256));
        CREATE TABLE user_usage_logs (id INTEGER PRIMARY KEY, user_id INTEGER, used_traffic_at_reset BIGINT,
            reset_at DATETIME);
        CREATE TABLE next_plans (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, data_limit BIGINT NOT NULL);
        CREATE TABLE hosts (id INTEGER PRIMARY KEY, remark VARCHAR(256), address VARCHAR(256), port INTEGER,
            inbound_tag VARCHAR(256), sni VARCHAR(1000), is_disabled BOOLEAN);
        """,
}


@dataclass(frozen=True)
class MarzbanUser:
    """A user. `more` has columns of `users`, `proxies` his protocols, `excluded` inbounds that he is not in."""

    username: str
    used: int = 0
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    more: dict[str, object] = field(default_factory=dict)
    proxies: Sequence[str] = ("VLESS",)
    excluded: Sequence[str] = ()

    def row(self) -> dict[str, object]:
        """The columns of all versions, and those in `more`."""
        usual: dict[str, object] = {"username": self.username, "status": "active", "used_traffic": self.used}
        created: dict[str, object] = {"created_at": "2025-08-05 12:00:00.000000"}
        return {**usual, "data_limit": None, "expire": None, **created, **self.more}

    def settings(self) -> dict[str, object]:
        """Of his VLESS proxy."""
        return {"id": self.uuid, "flow": VISION}


@dataclass
class Marzban:
    """An installation in a directory."""

    directory: Path
    users: Sequence[MarzbanUser]
    version: str = "0.8"
    port: int = 443
    pair: KeyPair = field(default_factory=KeyPair.new)
    short_ids: Sequence[str] = ("4984bb57d40c124b",)
    server_names: Sequence[str] = ("www.example.com",)
    target: str = "www.example.com:443"
    more_inbounds: Sequence[dict[str, Any]] = ()
    more_rows: Sequence[tuple[str, dict[str, object]]] = ()

    @property
    def database(self) -> Path:
        """Its db.sqlite3."""
        return self.directory / "db.sqlite3"

    @property
    def config(self) -> Path:
        """Its xray_config.json."""
        return self.directory / "xray_config.json"

    def write(self) -> Marzban:
        """Write both files."""
        self.directory.mkdir(exist_ok=True)
        self.database.unlink(missing_ok=True)
        self.config.write_text(f"// by hand\n{json.dumps(self.document())}", encoding="utf-8")
        with closing(sqlite3.connect(self.database)) as connection:
            connection.executescript(SCHEMAS[self.version])
            for number, user in enumerate(self.users, 1):
                self._write_user(connection, number, user)
            for table, row in self.more_rows:
                _insert(connection, table, row)
            connection.commit()
        return self

    def document(self) -> dict[str, Any]:
        """The contents of xray_config.json."""
        return {"inbounds": [self.inbound(), *self.more_inbounds], "outbounds": [{"protocol": "freedom"}]}

    def inbound(self) -> dict[str, Any]:
        """The inbound that all users share."""
        reality = {
            "dest": self.target,
            "serverNames": list(self.server_names),
            "privateKey": self.pair.private_key,
            "shortIds": ["", *self.short_ids],
        }
        return {
            "tag": "VLESS REALITY",
            "listen": "0.0.0.0",  # noqa: S104 - as they have it
            "port": self.port,
            "protocol": "vless",
            "settings": {"clients": [], "decryption": "none"},
            "streamSettings": {"network": "tcp", "security": "reality", "realitySettings": reality},
        }

    def answer(self) -> dict[str, Any]:
        """What the API answers to GET /api/users."""
        users = [
            user.row()
            | {
                "proxies": {name.lower(): user.settings() for name in user.proxies},
                "inbounds": {"vless": [] if "VLESS REALITY" in user.excluded else ["VLESS REALITY"]},
                "links": [],
            }
            for user in self.users
        ]
        return {"users": users, "total": len(users)}

    def _write_user(self, connection: sqlite3.Connection, number: int, user: MarzbanUser) -> None:
        row = user.row() | {"id": number}
        if self.version == "first":
            _insert(connection, "users", row | {"proxy_type": "VLESS", "settings": json.dumps(user.settings())})
            return
        _insert(connection, "users", row)
        for name in user.proxies:
            proxy = {"user_id": number, "type": name, "settings": json.dumps(user.settings())}
            place = _insert(connection, "proxies", proxy)
            for tag in user.excluded if name == "VLESS" else ():
                _insert(connection, "exclude_inbounds_association", {"proxy_id": place, "inbound_tag": tag})


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> int | None:
    statement = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"  # noqa: S608 - from above
    return connection.execute(statement, tuple(row.values())).lastrowid
