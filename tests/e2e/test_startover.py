"""A real server whose files are lost or damaged: the start is refused in one line, and the backup brings all back."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.keys import Key, lasting, list_keys, make_key
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite]


@pytest.fixture
def service(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Service]:
    """A service of a test's own."""
    with Service(target, egress_allow=egress) as service:
        yield service


@pytest.fixture
def keys(service: Service) -> list[Key]:
    """Five keys, which a backup has."""
    made = [make_key(service) for _ in range(5)]
    assert service.cli("backups", "make").returncode == 0
    return made


def database_files(service: Service) -> list[Path]:
    """The database with what belongs to it."""
    return list(service.data_dir.glob("vpnkeys.db*"))


def refused(service: Service) -> str:
    """The one line that a start ends with."""
    done = service.program("serve", timeout=60)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.isprintable()
    return line


def test_a_removed_database_refuses_the_start_until_the_backup_is_restored(service: Service, keys: list[Key]) -> None:
    """Removed while the server runs, or stopped: config.json stays as it is, and `restore --newest` brings all back."""
    for path in database_files(service):
        path.unlink()
    service.client.get("/api/keys")
    service.stop()
    config = (service.data_dir / "config.json").read_bytes()
    assert "vpnkeys.db is" in refused(service)
    for path in database_files(service):
        path.unlink()
    told = refused(service)
    assert "vpnkeys.db is missing, but config.json has keys: 5" in told
    assert str(next((service.data_dir / "backups").glob("vpnkeys-*.backup"))) in told
    assert "vpnkeys restore --newest --force" in told
    assert (service.data_dir / "config.json").read_bytes() == config
    assert database_files(service) == []
    assert service.program("restore", "--newest", "--force").returncode == 0
    service.start()
    service.wait_ready()
    assert [*map(lasting, list_keys(service))] == [*map(lasting, keys)]
    service.stop()
    service.start()
    assert [*map(lasting, list_keys(service))] == [*map(lasting, keys)]


def test_start_empty_says_that_one_means_it(service: Service, keys: list[Key]) -> None:
    """No key is left, and the starts after it need no option."""
    assert len(keys) == 5
    service.stop()
    for path in database_files(service):
        path.unlink()
    plain, service.command = service.command, (*service.command, "--start-empty")
    service.start()
    assert list_keys(service) == []
    service.stop()
    service.command = plain
    service.start()
    assert list_keys(service) == []


def _flip(raw: bytes) -> bytes:
    return raw[:4096] + bytes(byte ^ 0x5A for byte in raw[4096:])


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "pages": _flip,
    "header": lambda raw: b"\x8d" * 100 + raw[100:],
    "truncated": lambda raw: raw[: len(raw) // 8192 * 4096],
}


def test_a_damaged_database_refuses_the_start_in_one_line(service: Service, keys: list[Key]) -> None:
    """However it is damaged."""
    assert len(keys) == 5
    service.stop()
    database = service.data_dir / "vpnkeys.db"
    intact = database.read_bytes()
    for damage in DAMAGES.values():
        database.write_bytes(damage(intact))
        told = refused(service)
        assert "vpnkeys.db is damaged" in told
        assert "vpnkeys restore --newest --force" in told


def test_a_database_damaged_while_serving_is_503(service: Service, keys: list[Key]) -> None:
    """Each answer is right, or names the damage without a byte of it."""
    assert len(keys) == 5
    for path in database_files(service):
        if not path.name.endswith("-shm"):
            with path.open("r+b") as file:
                size = path.stat().st_size
                file.seek(32)
                file.write(b"\x8d\xffsecret" * (size // 8))
    answers = [service.client.get("/api/audit", params={"limit": 100}) for _ in range(3)]
    answers += [service.client.post("/api/keys", json={"name": "late"}) for _ in range(3)]
    codes = {(answer.status_code, answer.json().get("code")) for answer in answers if answer.status_code != 200}
    assert codes == {(503, "database_damaged")}
    assert all("secret" not in json.dumps(answer.json()) for answer in answers)


def test_a_taken_port_is_told_in_the_message_alone(service: Service) -> None:
    """Who has it is named, and no traceback follows."""
    service.stop()
    with socket.create_server(service.address):
        done = service.program("serve", timeout=60)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert re.search(rf"Address already in use, by \S+ \(pid {os.getpid()}\)$", done.stderr.strip()), done.stderr
