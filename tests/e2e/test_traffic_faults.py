"""What goes wrong, and what the accounts say afterwards: totals never fall, and what may be missing is shown and small.

The truth is what Xray's counters last said in each life of it, as far as somebody could read them.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from tests.support.clients import XrayClient
from tests.support.counting import (
    Life,
    Load,
    Watch,
    api_socket,
    gaps,
    lives,
    now,
    settled_xray_bytes,
    total_bytes,
)
from tests.support.keys import Key, delete_key, link_of, make_key
from tests.support.rows import rows_of
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.streams import ByteServer, transfer
from tests.support.target import RealityTarget

from vpnkeys.clock import SystemClock
from vpnkeys.service.traffic import count
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.store import SqlStore
from vpnkeys.xray.rpc.counters import XrayCounters

pytestmark = pytest.mark.e2e

INTERVAL_S = 0.2
BUSY_S = 3.0  # by how much a machine with other work may be late
COPIES = 12


@pytest.fixture(scope="module")
def service(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Service]:
    """A service that samples five times a second."""
    settings = {"VPNKEYS_TRAFFIC_INTERVAL_S": str(INTERVAL_S)}
    with Service(target, egress_allow=egress, settings=settings) as service:
        service.wait_ready()
        yield service


@pytest.fixture
def key(service: Service) -> Iterator[Key]:
    """A key of the test's own."""
    key = make_key(service)
    yield key
    delete_key(service, key)


def _rng() -> random.Random:
    seed = int(os.environ.get("CRASH_SEED") or secrets.randbits(32))
    sys.stdout.write(f"repeat this run with CRASH_SEED={seed}\n")
    return random.Random(seed)  # noqa: S311  (to be repeated, not to be secret)


def _agrees(service: Service, key: Key) -> list[Life]:
    """The lives, after the total was found to be their sum and the last one to be what Xray says."""
    counted = settled_xray_bytes(service, key)
    total = total_bytes(service, key)
    found = lives(service.database, key)
    assert found[-1].used_bytes == counted
    assert total == sum(life.used_bytes for life in found)
    return found


def _nothing_sampled_is_lost(found: list[Life], watch: Watch) -> list[int]:
    """At least what had been seen before each life's last sample is there; what is missing of each."""
    for life in found:
        assert life.used_bytes >= watch.seen_by(life.epoch, life.last_sample_at), life
    return [max(0, watch.seen_by(life.epoch, now()) - life.used_bytes) for life in found]


@pytest.mark.parametrize("kills", [4, pytest.param(15, marks=pytest.mark.soak)])
def test_a_killed_service_loses_what_came_after_its_last_sample_at_most(
    service: Service, key: Key, byte_server: ByteServer, kills: int
) -> None:
    """So often killed under load, Xray dying with it: each life keeps all that was sampled, and each is a gap."""
    rng, before = _rng(), len(lives(service.database, key))
    with XrayClient(link_of(service, key)) as client, Watch(service, key) as watch:
        with Load(client.proxies, [byte_server], size=100_000, pause_s=0.02):
            for _ in range(kills):
                floor = total_bytes(service, key)
                time.sleep(rng.uniform(0.0, 2 * INTERVAL_S))
                service.kill()
                service.start()
                service.wait_ready()
                assert total_bytes(service, key) >= floor
        found = _agrees(service, key)[before - 1 :]
    assert len(found) == kills + 1
    assert len(gaps(service, key)) == kills
    missing = _nothing_sampled_is_lost(found, watch)[:-1]
    sys.stdout.write(
        f"missing of each life: {max(missing)} bytes at most, {sum(missing)} of "
        f"{sum(life.used_bytes for life in found)} in all\n"
    )


def test_a_restart_by_the_api_loses_nothing(service: Service, key: Key, byte_server: ByteServer) -> None:
    """Three restarts of Xray under load, while others ask for totals: nothing that anybody saw is missing; no gap."""
    ending = threading.Event()
    faults: list[str] = []

    def ask() -> None:
        last = 0
        with service.new_client() as client:
            while not ending.is_set():
                answer = client.get(f"/api/keys/{key['id']}/traffic")
                if answer.status_code == httpx.codes.OK:
                    total = answer.json()["total_bytes"]
                    faults.extend([f"fell from {last} to {total}"] if total < last else [])
                    last = total
                elif answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    faults.append(answer.text)

    asking = threading.Thread(target=ask)
    asking.start()
    before = len(lives(service.database, key))
    gaps_before = len(gaps(service, key))
    with XrayClient(link_of(service, key)) as client, Watch(service, key) as watch:
        with Load(client.proxies, [byte_server]) as load:
            for _ in range(3):
                time.sleep(0.4)
                answer = service.client.post("/api/system/xray/sync-config", params={"force": "true"})
                assert answer.status_code == 200, answer.text
        ending.set()
        asking.join()
        found = _agrees(service, key)[before - 1 :]
    assert faults == []
    assert [life.ended_cleanly for life in found] == [True, True, True, None]
    assert len(gaps(service, key)) == gaps_before
    assert _nothing_sampled_is_lost(found, watch) == [0] * 4
    assert total_bytes(service, key) >= load.arrived_bytes


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["by hand", "killed"])
def test_an_xray_that_ends_by_itself_leaves_a_gap(
    service: Service, key: Key, byte_server: ByteServer, number: signal.Signals
) -> None:
    """It is shown, and no longer than the interval: all up to the last sample is counted."""
    before = len(lives(service.database, key))
    with XrayClient(link_of(service, key)) as client, Watch(service, key) as watch:
        with Load(client.proxies, [byte_server]):
            time.sleep(1.0)
            floor = total_bytes(service, key)
            time.sleep(0.5)
            ended_at = now()
            os.kill(service.xray_pid(), number)
            service.child.wait_for(lambda: len(lives(service.database, key)) > before, "sample of the next Xray")
            service.wait_ready()
        found = _agrees(service, key)[before - 1 :]
    assert total_bytes(service, key) >= floor
    assert len(found) == 2
    assert found[0].ended_cleanly is False
    assert ended_at - found[0].last_sample_at < timedelta(seconds=INTERVAL_S + BUSY_S * slowness())
    _nothing_sampled_is_lost(found, watch)
    assert len(gaps(service, key)) == 1


def _cut_power(service: Service, copy: Path) -> None:
    """What a disk holds when everything stops at this moment, whoever writes."""
    service.child.send_signal(signal.SIGSTOP)
    try:
        for end in ("", "-wal", "-shm"):
            source = service.data_dir / f"vpnkeys.db{end}"
            if source.exists():
                shutil.copyfile(source, copy.with_name(copy.name + end))
    finally:
        service.child.send_signal(signal.SIGCONT)


@pytest.mark.sqlite
def test_a_power_cut_at_any_moment_is_made_good(
    service: Service, key: Key, byte_server: ByteServer, tmp_path: Path
) -> None:
    """The database as it was in mid-write opens, has all that was answered, nothing more, and catches up exactly."""
    rng, ending = _rng(), threading.Event()

    def ask() -> None:
        with service.new_client() as client:
            while not ending.is_set():
                client.get(f"/api/keys/{key['id']}/traffic").raise_for_status()

    asking = [threading.Thread(target=ask) for _ in range(2)]
    floors: list[int] = []
    with XrayClient(link_of(service, key)) as client:
        with Load(client.proxies, [byte_server], size=50_000):
            for thread in asking:
                thread.start()
            for number in range(COPIES):
                floors.append(total_bytes(service, key))
                time.sleep(rng.uniform(0.0, 0.05))
                _cut_power(service, tmp_path / f"copy-{number}.db")
            ending.set()
            for thread in asking:
                thread.join()
        counted = settled_xray_bytes(service, key)
        for number, floor in enumerate(floors):
            _check_copy(service, key, tmp_path / f"copy-{number}.db", (floor, counted))
        assert total_bytes(service, key) == counted


def _check_copy(service: Service, key: Key, copy: Path, between: tuple[int, int]) -> None:
    with closing(sqlite3.connect(copy)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    store, counters = SqlStore(open_engine(f"sqlite:///{copy}")), XrayCounters(api_socket(service))
    floor, counted = between
    assert floor <= store.traffic(key["uuid"]).total_bytes <= counted
    for _ in range(2):
        count(store, counters, SystemClock())
        assert store.traffic(key["uuid"]).total_bytes == counted
    store.close()
    counters.close()


def _use(service: Service, key: Key, server: ByteServer, size: int) -> None:
    with XrayClient(link_of(service, key)) as client, server.open(client.socks) as sock:
        transfer(sock, size, size)


def test_another_port_has_the_same_account(service: Service, byte_server: ByteServer) -> None:
    """A key that moved goes on where it was."""
    below, key = make_key(service, "below"), make_key(service, "moves")
    _use(service, key, byte_server, 200_000)
    before = total_bytes(service, key)
    delete_key(service, below)
    (change,) = service.client.post("/api/system/ports/reset").raise_for_status().json()["changed"]
    assert change["key_id"] == key["id"]
    assert total_bytes(service, key) >= before >= 400_000
    _use(service, key, byte_server, 200_000)
    _agrees(service, key)
    assert total_bytes(service, key) >= 800_000
    delete_key(service, key)


def test_a_new_key_of_an_old_name_starts_at_zero(service: Service, byte_server: ByteServer) -> None:
    """What its namesake used is not its own; nor does a reset bring anything back."""
    old = make_key(service, "namesake")
    _use(service, old, byte_server, 200_000)
    assert total_bytes(service, old) >= 400_000
    delete_key(service, old)
    new = make_key(service, "namesake")
    assert (total_bytes(service, new), gaps(service, new)) == (0, [])
    _use(service, new, byte_server, 100_000)
    assert total_bytes(service, new) == settled_xray_bytes(service, new) >= 200_000
    _reset(service, new)
    assert total_bytes(service, new) == 0
    _use(service, new, byte_server, 100_000)
    assert 200_000 <= total_bytes(service, new) <= 204_000
    delete_key(service, new)


def _reset(service: Service, key: Key) -> None:
    service.client.post(f"/api/keys/{key['id']}/traffic/reset").raise_for_status()


def test_a_reset_under_load_loses_nothing_between(service: Service, key: Key, byte_server: ByteServer) -> None:
    """However many resets at whatever moments: Xray's counter goes on, and the last total is what came since."""
    with XrayClient(link_of(service, key)) as client:
        with Load(client.proxies, [byte_server]):
            for _ in range(20):
                _reset(service, key)
                assert total_bytes(service, key) >= 0
        counted = settled_xray_bytes(service, key)
        since_reset = total_bytes(service, key)
        offset = _offset(service, key)
    assert since_reset == counted - offset


def _offset(service: Service, key: Key) -> int:
    query = "SELECT offset_bytes FROM traffic_accounts WHERE key_uuid = ?"
    return int(rows_of(service.database, query, key["uuid"])[0][0])
