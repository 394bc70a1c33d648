"""Customers of other panels move in: each gets a key with a new link, and totals are what they were."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import SERVER_NAMES
from tests.support.binaries import xray_binary
from tests.support.clients import Client, SingBoxClient, XrayClient
from tests.support.keys import carries, carrying, list_keys
from tests.support.link import VlessLink
from tests.support.marzban import Marzban, MarzbanUser
from tests.support.ports import free_port, is_free
from tests.support.process import ChildProcess
from tests.support.service import Service
from tests.support.streams import ByteServer, transfer
from tests.support.target import RealityTarget
from tests.support.three_x_ui import XuiClient, XuiDatabase, XuiInbound

from vpnkeys.cli.output.tables import short_bytes

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite]

BYTES = 100_003
MONTHLY = {"totalGB": 10**12, "trafficReset": "monthly"}


def _ms_from_now(days: int) -> int:
    return int((datetime.now(UTC) + timedelta(days=days)).timestamp() * 1000)


def customers() -> list[XuiClient]:
    """Of every kind that moves in."""
    return [
        XuiClient("anna@example.com", 1_234_567, 89, more={"comment": "paid", "limitIp": 3}),
        XuiClient("Борис", 2**40, 1, more={"totalGB": 2**42, "expiryTime": _ms_from_now(30)}),
        XuiClient("off", 5, 6, more={"enable": False}),
        XuiClient("expired", 7, 8, more={"expiryTime": _ms_from_now(-1)}),
        XuiClient("limited", 9, 10, more={"totalGB": 19}, traffic={"enable": 0}),
        XuiClient("waiting", more={"expiryTime": -86_400_000}),
        XuiClient("monthly", 700, 77, more=MONTHLY),
        XuiClient("traveller", 1_000, 1),
    ]


@dataclass
class Move:
    """A panel's database, and the service that its customers move to."""

    panel: XuiDatabase
    service: Service

    @property
    def customers(self) -> list[XuiClient]:
        """All who move in."""
        return list(self.panel.inbounds[0].clients)

    def run(self, *options: str) -> tuple[int, dict[str, Any]]:
        """Import for a program: exit status and answer."""
        return run_import(self.service, "3x-ui", str(self.panel.path), *options)


def run_import(service: Service, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Import for a program: exit status and answer."""
    done = service.cli("import", *arguments, "--json")
    assert done.stdout, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, answer


def links_in(path: Path) -> dict[str, tuple[str, str]]:
    """The old and the new link of each UUID."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row["uuid"]: (row["old_link"], row["new_link"]) for row in csv.DictReader(file)}


def fingerprints(directory: Path) -> dict[str, str]:
    """Every file and directory below one, with what is in it."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "dir"
        for path in sorted(directory.rglob("*"))
        if not path.is_socket()
    }


def panel_at(path: Path, target: RealityTarget, version: str = "2.8") -> XuiDatabase:
    """A panel with an inbound that moves, and one that does not."""
    inbound = XuiInbound(customers(), free_port(), server_names=SERVER_NAMES, target=target.address)
    other = XuiInbound([XuiClient("vmess", 1000, 1)], free_port(), protocol="vmess")
    return XuiDatabase(path, [inbound, other], version, more_traffic=[("gone", 50)]).write()


@pytest.fixture
def idle(target: RealityTarget, egress: tuple[str, ...], tmp_path: Path) -> Iterator[Move]:
    """A panel, and a service that was never started."""
    service = Service(target, egress_allow=egress)
    try:
        yield Move(panel_at(tmp_path / "panel" / "x-ui.db", target), service)
    finally:
        service.close()


@pytest.fixture(scope="module", params=["2.3", "3.6"])
def moved(
    request: pytest.FixtureRequest,
    target: RealityTarget,
    egress: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Move]:
    """The move, done as an operator does it: panel off, import, server on."""
    service = Service(target, egress_allow=egress)
    move = Move(panel_at(tmp_path_factory.mktemp("move") / "x-ui.db", target, request.param), service)
    try:
        status, answer = move.run("--links", str(move.panel.path.with_name("links.csv")))
        assert (status, answer["status"], len(answer["keys"])) == (0, "imported", len(move.customers))
        service.start()
        service.wait_ready()
        yield move
    finally:
        service.close()


@pytest.fixture(params=[XrayClient, SingBoxClient], ids=["xray", "sing-box"])
def client_type(request: pytest.FixtureRequest) -> type[Client]:
    """Each client. One of all modules has a module's scope: pytest would sort by it, and make each move again."""
    client: type[Client] = request.param
    return client


def new_link(move: Move, name: str) -> VlessLink:
    """The new link of a customer."""
    (customer,) = [one for one in move.customers if one.email == name]
    return VlessLink.parse(links_in(move.panel.path.with_name("links.csv"))[customer.uuid][1])


def test_totals_are_equal(moved: Move) -> None:
    """Each key has used what its customer had, and nothing is lost between."""
    for customer in moved.customers[:-1]:  # the last one is on line in another test
        answer = moved.service.client.get(f"/api/keys/{customer.uuid}/traffic").raise_for_status().json()
        assert (customer.email, answer["total_bytes"], answer["gaps"]) == (customer.email, customer.used, [])
    known = sum(customer.used for customer in moved.customers)
    assert moved.panel.used() == known + 1001 + 50


def test_keys_are_as_their_customers(moved: Move) -> None:
    """Names, notes, limits and states; each has a port and a short id of its own, all have the panel's key pair."""
    keys = {key["name"]: key for key in list_keys(moved.service)}
    assert {*keys} == {customer.email for customer in moved.customers}
    assert (keys["anna@example.com"]["note"], keys["anna@example.com"]["max_devices"]) == ("paid", 3)
    assert keys["Борис"]["traffic_limit_bytes"] == 2**42
    assert keys["waiting"]["expires_after_s"] == 86_400
    states = {name: key["status"] for name, key in keys.items()}
    stopped = {"off": "disabled", "expired": "expired", "limited": "limited"}
    assert states == dict.fromkeys(keys, "active") | stopped
    assert all(is_free(keys[name]["port"]) for name in stopped)
    assert len({key["port"] for key in keys.values()}) == len({key["short_id"] for key in keys.values()}) == len(keys)
    assert keys["anna@example.com"]["short_id"] == moved.panel.inbounds[0].short_ids[0].ljust(16, "0")
    assert new_link(moved, "Борис").public_key == moved.panel.inbounds[0].pair.public_key


def test_what_was_used_counts_in_its_window(moved: Move) -> None:
    """A monthly limit does not begin anew by moving."""
    (key,) = [one for one in list_keys(moved.service) if one["name"] == "monthly"]
    assert (key["traffic_limit_window"], key["used_in_window_bytes"]) == ("month", 777)


def test_new_links_carry_and_count(moved: Move, client_type: type[Client], byte_server: ByteServer) -> None:
    """A real client gets through, and what it uses comes on top of what was used there."""
    link = new_link(moved, "traveller")
    url = f"/api/keys/{link.uuid}/traffic"
    before = moved.service.client.get(url).raise_for_status().json()["total_bytes"]
    with client_type(link) as client, byte_server.open(client.socks) as sock:
        transfer(sock, BYTES, BYTES)
    after = moved.service.client.get(url).raise_for_status().json()["total_bytes"]
    assert before >= 1_001
    assert 2 * BYTES <= after - before < 2 * BYTES + 10_000


def test_who_was_stopped_stays_out(moved: Move, client_type: type[Client], byte_server: ByteServer) -> None:
    """By the switch, the date or the limit."""
    links = [new_link(moved, name) for name in ("off", "expired", "limited")]
    with client_type.many(links) as client:
        assert carrying(client.proxies, byte_server) == [False] * 3


def test_a_running_server_is_not_written_under(moved: Move) -> None:
    """While the server runs a look is possible, and an import of who is new is refused."""
    late = XuiInbound([XuiClient("late")], free_port())
    panel = XuiDatabase(moved.panel.path.with_name("late.db"), [late]).write()
    assert run_import(moved.service, "3x-ui", str(panel.path), "--dry-run")[1]["status"] == "would_import"
    status, answer = run_import(moved.service, "3x-ui", str(panel.path))
    assert status == 2
    assert "stop that one first" in answer["message"]
    assert "late" not in {key["name"] for key in list_keys(moved.service)}


@contextmanager
def old_xray(panel: XuiDatabase, target: RealityTarget) -> Iterator[None]:
    """A real Xray with the panel's first inbound, as the panel ran it."""
    inbound = panel.inbounds[0]
    clients = [{"id": one.uuid, "email": one.email, "flow": "xtls-rprx-vision"} for one in inbound.clients]
    settings = {"clients": clients, "decryption": "none"}
    stream = inbound.stream_settings()
    stream["realitySettings"].pop("settings")
    one = {"listen": "127.0.0.1", "port": inbound.port, "protocol": "vless", "settings": settings}
    config = panel.path.with_name("config.json")
    document = {"inbounds": [one | {"streamSettings": stream}], "outbounds": [{"protocol": "freedom"}]}
    config.write_text(json.dumps(document), encoding="utf-8")
    child = ChildProcess(
        [str(xray_binary()), "run", "-c", str(config)],
        name="the panel's Xray",
        log_path=panel.path.with_name("log"),
        env={"SSL_CERT_FILE": str(target.ca_file)},
    )
    try:
        child.wait_listening("127.0.0.1", inbound.port)
        yield
    finally:
        child.stop()


def test_old_links_are_those_of_the_panel(
    idle: Move, target: RealityTarget, client_type: type[Client], byte_server: ByteServer
) -> None:
    """What the file calls the old link gets a real client through the panel's own Xray."""
    path = idle.panel.path.with_name("links.csv")
    assert idle.run("--links", str(path), "--old-host", "127.0.0.1")[0] == 0
    old, _ = links_in(path)[idle.customers[0].uuid]
    assert path.stat().st_mode & 0o077 == 0
    with old_xray(idle.panel, target), client_type(VlessLink.parse(old)) as client:
        assert carries(client.socks, byte_server)


def test_a_second_import_changes_nothing(idle: Move) -> None:
    """It says so, not a byte changes, and the links can be written again."""
    path = idle.panel.path.with_name("links.csv")
    assert idle.run("--links", str(path))[0] == 0
    before, links = fingerprints(idle.service.data_dir), links_in(path)
    path.unlink()
    status, answer = idle.run("--links", str(path))
    assert (status, answer["status"], answer["keys"]) == (0, "nothing_to_do", [])
    assert len(answer["unchanged"]) == len(idle.customers)
    assert fingerprints(idle.service.data_dir) == before
    assert links_in(path) == links


def test_who_came_later_is_added(idle: Move) -> None:
    """A second import adds the new ones and leaves the others alone."""
    assert idle.run()[0] == 0
    inbound = idle.panel.inbounds[0]
    late = XuiInbound([*inbound.clients, XuiClient("late", 3)], inbound.port, pair=inbound.pair)
    XuiDatabase(idle.panel.path, [late]).write()
    status, answer = idle.run()
    assert (status, [key["name"] for key in answer["keys"]]) == (0, ["late"])
    assert (len(answer["unchanged"]), answer["key_pair"]) == (len(idle.customers), "kept")
    assert answer["used_bytes"]["panel"] == answer["used_bytes"]["imported"] + answer["used_bytes"]["unchanged"]


def test_a_dry_run_shows_all_and_writes_nothing(idle: Move) -> None:
    """What would come over, what would not and why, and that the sums are equal; nothing is there afterwards."""
    before = fingerprints(idle.panel.path.parent)
    path = idle.panel.path.with_name("links.csv")
    status, answer = idle.run("--dry-run", "--links", str(path))
    assert (status, answer["status"], answer["key_pair"]) == (0, "would_import", "taken_over")
    assert {key["uuid"]: key["used_bytes"] for key in answer["keys"]} == {one.uuid: one.used for one in idle.customers}
    assert {one["what"]: one["used_bytes"] for one in answer["left_out"]} == {"vmess": 1001, "gone": 50}
    used = answer["used_bytes"]
    assert used["panel"] == idle.panel.used() == used["imported"] + used["left_out"]
    idle.service.data_dir.rmdir()
    assert idle.run("--dry-run")[0] == 0
    assert not idle.service.data_dir.exists()
    assert fingerprints(idle.panel.path.parent) == before


def test_the_answer_for_people_has_it_all(idle: Move) -> None:
    """Who comes, who does not and why, and what to do next; no private key."""
    done = idle.service.cli("import", "3x-ui", str(idle.panel.path))
    assert (done.returncode, done.stderr) == (0, "")
    assert all(customer.uuid in done.stdout for customer in idle.customers)
    assert all(short_bytes(customer.used) in done.stdout for customer in idle.customers)
    assert "not imported: vmess: " in done.stdout
    assert "its protocol is vmess" in done.stdout
    assert "--links" in done.stdout
    assert idle.panel.inbounds[0].pair.private_key not in done.stdout


def _torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _overwritten(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * 4096 + content[8192:])


def _another(path: Path) -> None:
    path.write_text("no database", encoding="utf-8")


@pytest.mark.parametrize("spoil", [Path.unlink, _torn, _overwritten, _another])
@pytest.mark.parametrize("panel", ["3x-ui", "marzban"])
def test_a_damaged_file_changes_nothing(idle: Move, panel: str, spoil: Callable[[Path], None]) -> None:
    """One sentence that names the file or says what to give, and no trace of an import."""
    path = idle.panel.path
    if panel == "marzban":
        path = Marzban(path.parent, [MarzbanUser(f"user{number}") for number in range(50)]).write().database
    spoil(path)
    done = idle.service.cli("import", panel, str(path))
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(path) in done.stderr or "db.sqlite3" in done.stderr
    assert fingerprints(idle.service.data_dir) == {}


def test_too_few_ports(idle: Move) -> None:
    """All or nothing: the range that is enough is named."""
    first = idle.service.ports.start
    idle.service.env["VPNKEYS_PORT_RANGE"] = f"{first}-{first + 2}"
    status, answer = idle.run()
    assert (status, answer["code"]) == (1, "ports_exhausted")
    assert "VPNKEYS_PORT_RANGE" in answer["message"]
    assert fingerprints(idle.service.data_dir) == {}


@pytest.mark.parametrize(("source", "client_type"), [("database", XrayClient), ("answer", SingBoxClient)])
def test_users_of_marzban(
    idle: Move, target: RealityTarget, client_type: type[Client], byte_server: ByteServer, source: str
) -> None:
    """The same from Marzban, by its database or its API: a real client gets through, the total goes on."""
    users = [MarzbanUser("anna", 1000, more={"data_limit": 10**12}), MarzbanUser("off", more={"status": "disabled"})]
    directory = idle.panel.path.parent
    marzban = Marzban(directory, users, port=free_port(), server_names=SERVER_NAMES, target=target.address).write()
    (answer := directory / "users.json").write_text(json.dumps(marzban.answer()), encoding="utf-8")
    file, links = {"database": marzban.database, "answer": answer}[source], directory / "links.csv"
    options = ["--config", str(marzban.config), "--links", str(links)]
    status, told = run_import(idle.service, "marzban", str(file), *options)
    assert (status, told["status"], told["key_pair"], told["left_out"]) == (0, "imported", "taken_over", [])
    idle.service.start()
    idle.service.wait_ready()
    link = VlessLink.parse(links_in(links)[users[0].uuid][1])
    assert (link.public_key, link.short_id) == (marzban.pair.public_key, marzban.short_ids[0])
    with client_type(link) as client:
        assert carries(client.socks, byte_server)
    keys = {key["name"]: key["status"] for key in list_keys(idle.service)}
    assert keys == {"anna": "active", "off": "disabled"}
    assert idle.service.client.get(f"/api/keys/{link.uuid}/traffic").json()["total_bytes"] > 1000
