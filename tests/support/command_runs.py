"""Commands, run in this process, and what their lines may name."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

from typer.testing import CliRunner, Result

from tests.support.keys import make_key
from tests.support.ports import free_port
from tests.support.process import wait_until
from tests.support.service import Service
from vpnkeys.cli.main import build_app

Way = Callable[[Service], dict[str, str | None]]
"""How a command finds a service: its environment."""


def by_socket(service: Service) -> dict[str, str | None]:
    """On the server's own machine."""
    return {"VPNKEYS_DATA_DIR": str(service.data_dir), "VPNKEYS_URL": None, "VPNKEYS_API_KEY": None}


def by_url(service: Service) -> dict[str, str | None]:
    """From elsewhere."""
    certificate = str(service.data_dir / "tls" / "cert.pem")
    return {"VPNKEYS_URL": service.base_url, "VPNKEYS_API_KEY": service.api_key, "VPNKEYS_CA": certificate}


def run(line: list[str], env: Mapping[str, str | None]) -> Result:
    """A command, in this process: nothing but the process would be different."""
    return CliRunner().invoke(build_app(line[:1]), line, env=env)


class _Yes(BaseHTTPRequestHandler):
    """Takes whatever is sent."""

    def do_POST(self) -> None:
        """204."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's name
        """Nothing."""


@contextmanager
def receiver() -> Iterator[str]:
    """Yield the address of a receiver of webhooks."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Yes) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class Things(Mapping[str, str]):
    """What a command line may name, made when it is."""

    service: Service
    directory: Path
    receiver: str
    makers: dict[str, Callable[[], str]] = field(init=False)

    def __post_init__(self) -> None:
        post = self.service.client.post
        token = {"name": "t", "scope": "read"}
        makers: dict[str, Callable[[], str]] = {
            "key": self._key,
            "key2": self._key,
            "subscribed": self._subscribed,
            "shared": lambda: str(post("/api/subscriptions", json={"keys": [self._key()]}).json()["id"]),
            "token": lambda: str(post("/api/tokens", json=token).json()["id"]),
            "node": lambda: str(post("/api/nodes", json={"name": self._unique()}).json()["node"]["id"]),
            "door": self._door,
            "unique": self._unique,
            "webhook": lambda: str(post("/api/webhooks", json={"url": self.receiver}).json()["id"]),
            "backup": self._backup,
            "file": lambda: str(self.directory / "file"),
            "url": lambda: self.receiver,
        }
        object.__setattr__(self, "makers", makers)

    def _unique(self) -> str:
        return f"a-{uuid4().hex}"

    def _key(self) -> str:
        return str(make_key(self.service, "made for a command")["id"])

    def _door(self) -> str:
        """One whose customers are gone: only an import makes doors, while no server runs."""
        row = (
            tag := f"vpnkeys-door-{self._unique()[:20]}",
            free_port(),
            "",
            "a.example:443",
            '["a.example"]',
            "A" * 43,
        )
        with closing(sqlite3.connect(self.service.data_dir / "vpnkeys.db")) as connection, connection:
            connection.execute("INSERT INTO doors VALUES (?, ?, ?, ?, ?, ?, '[]', '[]', 0)", row)
        return tag

    def _subscribed(self) -> str:
        key_id = self._key()
        self.service.client.post(f"/api/keys/{key_id}/subscription").raise_for_status()
        return key_id

    def _backup(self) -> str:
        self.await_next_second()
        return str(self.service.client.post("/api/backups").json()["name"])

    def await_next_second(self) -> None:
        """Backups are named by the second: let there be none of this one."""
        backups = self.service.client.get("/api/backups").json()
        newest = max((backup["created_at"] for backup in backups), default="")
        assert wait_until(lambda: datetime.now(UTC).isoformat()[:19] > newest[:19])

    def __getitem__(self, name: str) -> str:
        """One more."""
        return self.makers[name]()

    def __iter__(self) -> Iterator[str]:
        """Their names."""
        return iter(self.makers)

    def __len__(self) -> int:
        """How many kinds there are."""
        return len(self.makers)
