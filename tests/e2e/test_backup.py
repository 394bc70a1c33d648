"""A backup of a server under load, restored in another place, brings every customer's link back to life."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
from tests.support.clients import XrayClient
from tests.support.counting import total_bytes
from tests.support.keys import Key, delete_key, link_of, list_keys, make_key
from tests.support.link import VlessLink
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.streams import ByteServer, transfer
from tests.support.target import RealityTarget

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite]

BYTES = 200_000
SECRET = "correct horse battery staple"
FIELDS = ("id", "name", "uuid", "port", "short_id", "sni", "is_active", "created_at")


@dataclass(slots=True)
class Load:
    """Keys made and deleted without a pause, until told to stop."""

    service: Service
    made: list[Key] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def run(self) -> None:
        """Make two, delete one, as long as there is room."""
        while not self._stopping.is_set() and len(self.made) < 10:
            self.made.append(make_key(self.service, f"load {len(self.made)}"))
            delete_key(self.service, make_key(self.service, "gone"))

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        assert self._thread is not None
        self._thread.join()


@dataclass(frozen=True, slots=True)
class Moved:
    """What the old server was when it ended, and the new one in another data directory."""

    new: Service
    customers: list[Key]
    links: list[VlessLink]
    totals: list[int]
    during: list[Key]
    answer: dict[str, Any]


def answer_of(service: Service, *arguments: str, status: int = 0) -> dict[str, Any]:
    """What a command says for programs."""
    done = service.cli(*arguments, "--json")
    assert done.returncode == status, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def moved(
    target: RealityTarget, egress: tuple[str, ...], byte_server: ByteServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Moved]:
    """Customers who have used something; a backup while keys come and go; the old server ends; the new one starts."""
    room = tmp_path_factory.mktemp("backup")
    (room / "passphrase").write_text(SECRET + "\n")
    file = str(room / "vpnkeys.backup")
    with Service(target, egress_allow=egress, port_count=40) as old:
        old.wait_ready()
        customers = [make_key(old, f"customer {number}") for number in range(3)]
        links = [link_of(old, key) for key in customers]
        with XrayClient.many(links) as client:
            for proxy in client.proxies:
                with byte_server.open(proxy) as sock:
                    transfer(sock, BYTES, BYTES)
        totals = [_settled(old, key) for key in customers]
        with Load(old) as load:
            assert wait_until(lambda: bool(load.made))
            before = list(load.made)
            answer_of(old, "backup", file, "--passphrase-file", str(room / "passphrase"))
        _refusals(old, room, file)
        old.stop()
        settings = {"VPNKEYS_PORT_RANGE": old.env["VPNKEYS_PORT_RANGE"], "VPNKEYS_API_KEY": None}
        new = Service(target, egress_allow=egress, data_dir=room / "data", settings=settings)
        new.api_key = old.api_key
        new.env["VPNKEYS_PASSPHRASE"] = SECRET
        try:
            answer = answer_of(new, "restore", file)
            new.start()
            new.wait_ready()
            yield Moved(new, customers, links, totals, before, answer)
        finally:
            new.close()


def _settled(service: Service, key: Key) -> int:
    """The total, once it has stood still."""
    last = -1
    while (found := total_bytes(service, key)) != last or found < 2 * BYTES:
        last = found
        time.sleep(0.3)
    return last


def _refusals(old: Service, room: Path, file: str) -> None:
    """What must not work while the old server is there."""
    assert answer_of(old, "backup", file, status=1)["code"] == "backup_refused"
    (room / "wrong").write_text("something else\n")
    wrong = answer_of(old, "restore", file, "--passphrase-file", str(room / "wrong"), "--force", status=1)
    assert "passphrase is wrong" in wrong["message"]
    right = ("--passphrase-file", str(room / "passphrase"), "--force")
    assert "stop that one first" in answer_of(old, "restore", file, *right, status=2)["message"]
    (room / "torn").write_bytes(Path(file).read_bytes()[:-1])
    done = old.cli("restore", str(room / "torn"), *right)
    assert done.returncode == 1
    assert "damaged" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_every_key_is_as_it_was(moved: Moved) -> None:
    """The same id, uuid, port, short id, name: the customers' and those made just before the backup, under load."""
    found = {key["id"]: key for key in list_keys(moved.new)}
    for key in [*moved.customers, *moved.during]:
        assert [found[key["id"]][name] for name in FIELDS] == [key[name] for name in FIELDS]
    assert moved.answer["keys"] == len(found)
    assert moved.answer["kept_aside"] is None
    assert any("VPNKEYS_SERVER_ADDRESS" in note for note in moved.answer["notes"])


def test_links_and_totals_are_the_same(moved: Moved) -> None:
    """Letter for letter, byte for byte; the API key is the old one, which only its hash can know."""
    assert [link_of(moved.new, key) for key in moved.customers] == moved.links
    assert [total_bytes(moved.new, key) for key in moved.customers] == moved.totals


def test_a_client_connects_with_its_old_link(moved: Moved, byte_server: ByteServer) -> None:
    """Nobody has to be given anything new; and what is used is counted on top."""
    with XrayClient.many(moved.links) as client:
        for proxy in client.proxies:
            with byte_server.open(proxy) as sock:
                transfer(sock, BYTES, BYTES)
    more = [_settled(moved.new, key) for key in moved.customers]
    assert all(2 * BYTES <= now - then < 2 * BYTES + 10_000 for now, then in zip(more, moved.totals, strict=True))


def test_the_server_backs_itself_up(moved: Moved) -> None:
    """A server that starts with keys and without a backup makes one at once, and it can be restored."""
    directory = moved.new.data_dir / "backups"
    assert wait_until(lambda: directory.is_dir() and any(directory.glob("vpnkeys-*.backup")))
    (file,) = directory.glob("vpnkeys-*.backup")
    assert file.stat().st_mode & 0o777 == 0o600
    kept = len(list_keys(moved.new))
    moved.new.env.pop("VPNKEYS_PASSPHRASE")
    moved.new.stop()
    assert answer_of(moved.new, "restore", str(file), status=1)["code"] == "backup_refused"
    answer = answer_of(moved.new, "restore", str(file), "--force")
    assert answer["keys"] == kept
    assert Path(answer["kept_aside"]).is_file()
    moved.new.start()
    assert len(list_keys(moved.new)) == kept


def test_an_interrupted_restore_is_finished_by_the_server(moved: Moved) -> None:
    """It says so, and ends: the settings that it has read may be the old ones. The next start serves."""
    service = moved.new
    service.stop()
    committed = service.data_dir / ".restore"
    committed.mkdir()
    for name in ("vpnkeys.db", "reality.json"):
        (service.data_dir / name).rename(committed / name)
    listed = ["vpnkeys.db", "reality.json", "api-key.json", "tls/cert.pem", "tls/key.pem"]
    (committed / "members.json").write_text(json.dumps(listed))
    done = service.program("serve")
    assert done.returncode == 2
    assert "restore was completed" in done.stderr
    service.start()
    assert {key["id"] for key in list_keys(service)} >= {key["id"] for key in moved.customers}
