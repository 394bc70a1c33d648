"""Whoever samples, however many and in whatever order: the total is exactly what Xray counted."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.clients import XrayClient
from tests.support.counting import Load, api_socket, exact_total_bytes, gaps, hourly_bytes, lives, settled_xray_bytes
from tests.support.keys import Key, delete_key, link_of, make_key
from tests.support.process import wait_until
from tests.support.rows import rows_of
from tests.support.samplers import sample_until
from tests.support.service import Service
from tests.support.streams import ByteServer
from tests.support.target import RealityTarget

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite]

COMMANDS, THREADS = 2, 5  # with the service's own sampler: eight, in three processes and more


@pytest.fixture(scope="module")
def started(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Service]:
    """A service that samples twenty times a second."""
    with Service(target, egress_allow=egress, settings={"VPNKEYS_TRAFFIC_INTERVAL_S": "0.05"}) as service:
        yield service


@pytest.fixture
def service(started: Service) -> Service:
    """The service, which runs."""
    started.be_ready()
    return started


class Crowd:
    """Everybody who asks and samples, until the end."""

    def __init__(self, service: Service, keys: list[Key]) -> None:
        """Prepare."""
        self._service = service
        self._keys = keys
        self._begun, self._ending = threading.Event(), threading.Event()
        self.samples = 0
        self.asked = 0

    def run(self, seconds: float) -> None:
        """Let them all work for so long at the same time; what any of them could not do is an error here."""
        work: list[Callable[[], None]] = [self._command] * COMMANDS + [self._sample] + [self._ask] * 2
        with ThreadPoolExecutor(len(work)) as pool:
            futures = [pool.submit(one) for one in work]
            self._begun.wait()
            self._ending.wait(seconds)
            self._ending.set()
            for future in futures:
                future.result()

    def _command(self) -> None:
        while not self._ending.is_set():
            done = self._service.program("traffic", "collect")
            assert done.returncode == 0, done.stderr
            self.samples += 1

    def _sample(self) -> None:
        database = self._service.data_dir / "vpnkeys.db"
        self.samples += sample_until(self._ending, self._begun, database, api_socket(self._service), THREADS)

    def _ask(self) -> None:
        """Totals never fall."""
        last = dict.fromkeys((key["id"] for key in self._keys), 0)
        with self._service.new_client() as client:
            while not self._ending.wait(0.05):
                for key_id, before in last.items():
                    answer = client.get(f"/api/keys/{key_id}/traffic").raise_for_status().json()
                    assert answer["total_bytes"] >= before
                    last[key_id] = answer["total_bytes"]
                    self.asked += 1


def _overlap(service: Service, servers: list[ByteServer], seconds: float) -> None:
    keys = [make_key(service, name) for name in ("one", "two")]
    database = service.data_dir / "vpnkeys.db"
    assert wait_until(lambda: any(life.ended_cleanly is None for life in lives(database, keys[0])))
    before = len(lives(database, keys[0]))
    crowd = Crowd(service, keys)
    with XrayClient.many([link_of(service, key) for key in keys]) as client:
        with Load(client.proxies, servers) as load:
            crowd.run(seconds)
        assert load.arrived_bytes > 0
        for key in keys:
            settled_xray_bytes(service, key)
        for key in keys:
            counted = exact_total_bytes(service, key)
            assert hourly_bytes(database, key) == counted
            assert gaps(service, key) == []
            assert len(lives(database, key)) == before, "it is one life of Xray"
    assert crowd.samples > THREADS + COMMANDS
    assert crowd.asked > len(keys)
    for key in keys:
        delete_key(service, key)


def test_eight_samplers_count_each_byte_once(
    service: Service, byte_server: ByteServer, tls_byte_server: ByteServer
) -> None:
    """The service, the timer's command and others sample all at once under load: totals equal Xray's own counters."""
    _overlap(service, [byte_server, tls_byte_server], 6)


@pytest.mark.soak
def test_eight_samplers_for_a_minute(service: Service, byte_server: ByteServer, tls_byte_server: ByteServer) -> None:
    """The same for longer."""
    _overlap(service, [byte_server, tls_byte_server], 60)


def test_the_command_says_how_it_went(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """0 and a line of JSON beside a running server; 3 without Xray; 2 without a database, of which none is made."""
    done = service.cli("traffic", "collect", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert '"status": "success"' in done.stdout
    service.stop()
    done = service.cli("traffic", "collect", "--json")
    assert (done.returncode, done.stdout) == (3, "")
    assert '"code": "xray_unavailable"' in done.stderr
    (empty := tmp_path / "empty").mkdir()
    monkeypatch.setitem(service.env, "VPNKEYS_DATA_DIR", str(empty))
    done = service.cli("traffic", "collect")
    assert (done.returncode, done.stdout) == (2, "")
    assert "start the server once" in done.stderr
    assert list(empty.iterdir()) == []


def test_the_command_migrates_nothing(started: Service) -> None:
    """A database of an older version is refused with what to do, and left as it is."""
    service = started
    service.stop()
    database = service.data_dir / "vpnkeys.db"
    ((present,),) = rows_of(database, "SELECT version_num FROM alembic_version")
    for revision in ("0000", "9999"):
        _set_revision(database, revision)
        done = service.cli("traffic", "collect")
        assert (done.returncode, done.stdout) == (2, "")
        assert revision in done.stderr
        assert "start the server once" in done.stderr or "that version" in done.stderr
    _set_revision(database, str(present))


def _set_revision(database: Path, revision: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
