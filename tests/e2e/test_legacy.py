"""An old installation moves over and no customer notices: the same links work, the same fail, totals carry on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import SERVER_NAMES
from tests.support.binaries import xray_binary
from tests.support.clients import Client
from tests.support.keys import carrying, list_keys, make_key
from tests.support.legacy import VISION, OldKey, OldServer, parse_old_link, realistic_keys
from tests.support.link import VlessLink
from tests.support.ports import free_port, is_free
from tests.support.process import ChildProcess
from tests.support.service import Service
from tests.support.streams import ByteServer, transfer
from tests.support.target import RealityTarget

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite]

BYTES = 100_003


@dataclass
class Move:
    """An old server, and the service that took its keys over; whoever needs it runs it."""

    old: OldServer
    service: Service

    @property
    def served(self) -> list[OldKey]:
        """The keys whose links worked on the old server."""
        return [key for key in self.old.keys if key.served]

    def links(self, *, other_flow: bool = False) -> list[VlessLink]:
        """The old links, or the same with the flow that was not theirs."""
        links = [parse_old_link(self.old.link(key)) for key in self.served]
        return [replace(link, flow="" if link.flow else VISION) for link in links] if other_flow else links


def fingerprints(directory: Path) -> dict[str, str]:
    """Every file and directory below one, with what is in it."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "dir"
        for path in sorted(directory.rglob("*"))
        if not path.is_socket()
    }


def run_import(service: Service, old: OldServer, *options: str) -> tuple[int, dict[str, Any]]:
    """Import for a program: exit status and answer."""
    done = service.cli("import", "legacy", *old.arguments, "--json", *options)
    assert done.stdout, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, answer


@contextmanager
def old_xray(old: OldServer, target: RealityTarget) -> Iterator[ChildProcess]:
    """A real Xray on the old config.json, as it ran before the move."""
    child = ChildProcess(
        [str(xray_binary()), "run", "-c", str(old.config)],
        name="old Xray",
        log_path=old.directory / "log",
        env={"SSL_CERT_FILE": str(target.ca_file)},
    )
    try:
        for key in old.keys:
            if key.served:
                child.wait_listening("127.0.0.1", key.port)
        yield child
    finally:
        child.stop()


def who_gets_through(client: type[Client], links: Sequence[VlessLink], far: ByteServer) -> list[bool]:
    """Which of the links carry bytes, each on its own connection, tried at the same time."""
    with client.many(links) as running:
        return carrying(running.proxies, far)


@pytest.fixture
def idle(target: RealityTarget, egress: tuple[str, ...], tmp_path: Path) -> Iterator[Move]:
    """An old server, and a service that was never started."""
    service = Service(target, egress_allow=egress)
    keys = realistic_keys(service.ports, SERVER_NAMES)
    old = OldServer(tmp_path / "old", keys, target=target.address, api_port=free_port()).write()
    try:
        yield Move(old, service)
    finally:
        service.close()


@pytest.fixture(scope="module")
def moved(target: RealityTarget, egress: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Move]:
    """The move, done as an operator does it: old server off, import, new server on."""
    service = Service(target, egress_allow=egress)
    keys = realistic_keys(service.ports, SERVER_NAMES)
    directory = tmp_path_factory.mktemp("move") / "old"
    old = OldServer(directory, keys, target=target.address, api_port=free_port()).write()
    try:
        status, answer = run_import(service, old)
        assert (status, answer["status"], answer["clashes"]) == (0, "imported", [])
        service.start()
        service.wait_ready()
        yield Move(old, service)
    finally:
        service.close()


def test_totals_carry_on(moved: Move) -> None:
    """Before anybody has sent a byte here, every total is the old one."""
    for key in moved.old.keys:
        answer = moved.service.client.get(f"/api/keys/{key.uuid}/traffic").raise_for_status().json()
        assert (key.name, answer["total_bytes"]) == (key.name, key.total_bytes)


def test_keys_look_as_before(moved: Move) -> None:
    """Bots that know the keys find them again: id, name, UUID, age, state, port, short id and server name."""
    found = {key["id"]: key for key in list_keys(moved.service)}
    assert found.keys() == {key.id for key in moved.old.keys}
    for key in moved.old.keys:
        here = found[key.id]
        expected = (key.name, key.uuid, key.is_active, key.port, key.short_id, key.sni)
        assert tuple(here[name] for name in ("name", "uuid", "is_active", "port", "short_id", "sni")) == expected
    ages = {key["name"]: key["created_at"] for key in found.values()}
    assert ages["today@example.com"] == "2025-08-05T12:00:00.000000"
    assert ages["early"] == "2024-01-02T00:04:05.000000"
    assert ages["many-names"] == "2025-01-01T00:00:00.000000"


def test_new_links_say_what_the_old_ones_said(moved: Move) -> None:
    """Whoever asks for his link again gets the same access, and a flow only where the inbound has one."""
    for key, link in zip(moved.served, moved.links(), strict=True):
        config = moved.service.client.get(f"/api/keys/{key.id}/config").raise_for_status().json()
        assert parse_old_link(config["vless_url"]) == link


def test_old_links_go_on_working(moved: Move, client_type: type[Client], byte_server: ByteServer) -> None:
    """Every link that is in use carries bytes: short ids of 8 digits, no flow, half known, several names."""
    assert who_gets_through(client_type, moved.links(), byte_server) == [True] * len(moved.served)


def test_the_other_flow_stays_refused(moved: Move, client_type: type[Client], byte_server: ByteServer) -> None:
    """A key lets in exactly the flow that its inbound had."""
    assert who_gets_through(client_type, moved.links(other_flow=True), byte_server) == [False] * len(moved.served)


def test_new_traffic_is_added_to_the_old(moved: Move, client_type: type[Client], byte_server: ByteServer) -> None:
    """What a customer uses here comes on top of what he used there."""
    key = moved.served[0]
    url = f"/api/keys/{key.uuid}/traffic"
    before = moved.service.client.get(url).raise_for_status().json()["total_bytes"]
    with client_type(moved.links()[0]) as client, byte_server.open(client.socks) as sock:
        transfer(sock, BYTES, BYTES)
    after = moved.service.client.get(url).raise_for_status().json()["total_bytes"]
    assert before >= key.total_bytes
    assert 2 * BYTES <= after - before < 2 * BYTES + 10_000


def test_a_sleeping_key_stays_asleep(moved: Move) -> None:
    """A key that was inactive has its place, and no inbound."""
    (asleep,) = [key for key in moved.old.keys if not key.is_active]
    assert is_free(asleep.port)


def test_new_keys_get_other_ports(moved: Move) -> None:
    """A key that is made after the move takes none of the ports that came over, a sleeping one's included."""
    assert make_key(moved.service)["port"] not in {key.port for key in moved.old.keys}


def test_a_running_server_is_not_written_under(moved: Move, tmp_path: Path) -> None:
    """While the server runs a look is possible; an import says that it has to be stopped first."""
    more = OldKey("late", moved.service.ports[-1], "77777777", SERVER_NAMES[0])
    old = replace(moved.old, directory=tmp_path / "more", keys=[*moved.old.keys, more]).write()
    assert run_import(moved.service, old, "--dry-run")[1]["status"] == "would_import"
    status, answer = run_import(moved.service, old)
    assert status == 2
    assert "stop that one first" in answer["message"]
    assert more.uuid not in {key["uuid"] for key in list_keys(moved.service)}


def test_it_was_the_same_on_the_old_server(
    idle: Move, target: RealityTarget, client_type: type[Client], byte_server: ByteServer
) -> None:
    """The links that must go on working did work with the old config.json, and those with the other flow did not."""
    with old_xray(idle.old, target):
        assert all(who_gets_through(client_type, idle.links(), byte_server))
        assert not any(who_gets_through(client_type, idle.links(other_flow=True), byte_server))


def test_a_second_import_changes_nothing(idle: Move) -> None:
    """Running it again is safe: it says that there is nothing to do, and not a byte changes."""
    assert run_import(idle.service, idle.old)[0] == 0
    before = fingerprints(idle.service.data_dir)
    status, answer = run_import(idle.service, idle.old)
    assert (status, answer["status"], answer["keys"]) == (0, "nothing_to_do", [])
    assert len(answer["unchanged"]) == len(idle.old.keys)
    assert fingerprints(idle.service.data_dir) == before


def test_a_dry_run_writes_nothing(idle: Move) -> None:
    """It tells what would happen and leaves both directories as they are, also when ours is not there yet."""
    before = fingerprints(idle.old.directory)
    status, answer = run_import(idle.service, idle.old, "--dry-run")
    assert (status, answer["status"]) == (0, "would_import")
    assert {key["uuid"]: key["total_bytes"] for key in answer["keys"]} == {
        key.uuid: key.total_bytes for key in idle.old.keys
    }
    assert fingerprints(idle.service.data_dir) == {}
    assert fingerprints(idle.old.directory) == before
    idle.service.data_dir.rmdir()
    assert run_import(idle.service, idle.old, "--dry-run")[0] == 0
    assert not idle.service.data_dir.exists()


def test_clashes_leave_everything_as_it_was(idle: Move) -> None:
    """One clash among many good keys: exit status 1, a line that says what to do, and nothing is written."""
    odd = replace(idle.old.keys[0], uuid="", port=1, row={"uuid": "damaged"}, served=False)
    old = replace(idle.old, directory=idle.old.directory / "more", keys=[*idle.old.keys[1:], odd])
    old.write()
    done = idle.service.cli("import", "legacy", *old.arguments)
    assert done.returncode == 1
    assert "Nothing was imported" in done.stdout
    assert "'damaged' is no UUID" in done.stdout
    assert fingerprints(idle.service.data_dir) == {}


def test_clashes_with_what_is_here_leave_everything_as_it_was(idle: Move) -> None:
    """A port that is taken here, by a key of another installation with the same key pair, stays whose it is."""
    assert run_import(idle.service, idle.old)[0] == 0
    before = fingerprints(idle.service.data_dir)
    rival = OldKey("rival", idle.old.keys[0].port, "77777777", SERVER_NAMES[0])
    status, answer = run_import(idle.service, replace(idle.old, keys=[rival]).write())
    assert (status, [clash["code"] for clash in answer["clashes"]]) == (1, ["port_taken"])
    assert fingerprints(idle.service.data_dir) == before


def test_a_first_start_before_the_import_does_no_harm(idle: Move, byte_server: ByteServer) -> None:
    """A server that was tried out and has no key gives its key pair up for the old one; one that has keys does not."""
    service = idle.service
    service.start()
    service.stop()
    status, answer = run_import(service, idle.old)
    assert (status, answer["status"], answer["key_pair"]) == (0, "imported", "taken_over")
    other = OldServer(idle.old.directory / "other", [OldKey("x", service.ports[-1], "77777777", SERVER_NAMES[0])])
    status, answer = run_import(service, other.write())
    assert (status, [clash["code"] for clash in answer["clashes"]]) == (1, ["other_key_pair"])


def test_only_the_owner_can_read_what_was_written(idle: Move) -> None:
    """Database and key pair are nobody else's business."""
    assert run_import(idle.service, idle.old)[0] == 0
    files = [path for path in idle.service.data_dir.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"vpnkeys.db", "reality.json"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)


def test_the_answer_for_people_has_it_all(idle: Move) -> None:
    """A table of the keys, what becomes of flow and target, and no private key."""
    done = idle.service.cli("import", "legacy", *idle.old.arguments)
    assert done.returncode == 0
    assert all(key.uuid in done.stdout for key in idle.old.keys)
    assert "no flow" in done.stdout
    assert "not taken over" in done.stdout
    assert idle.old.pair.private_key not in done.stdout + done.stderr


@pytest.mark.parametrize("missing", ["database", "config", "env"])
def test_a_missing_file_is_refused_in_one_line(idle: Move, missing: str) -> None:
    """The file is named, and there is no traceback."""
    path: Path = getattr(idle.old, missing)
    path.unlink()
    done = idle.service.cli("import", "legacy", *idle.old.arguments)
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
