"""The main job, drift, crashes and faults of counting, on a database of PostgreSQL as on SQLite.

`./test --database postgresql` does the same with all tests that are not about SQLite's file.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e import test_crash, test_traffic_faults
from tests.e2e.test_drift import keys as keys  # noqa: PLC0414 - a fixture
from tests.e2e.test_drift import mended as mended  # noqa: PLC0414 - a fixture
from tests.e2e.test_drift import test_drift_is_named_and_mended as drift_is_named_and_mended
from tests.e2e.test_traffic_faults import key as key  # noqa: PLC0414 - a fixture
from tests.support.clients import SingBoxClient, XrayClient
from tests.support.drift import DRIFTS, Drift
from tests.support.keys import Key, carries, delete_key, link_of, make_key
from tests.support.postgres import Cluster
from tests.support.service import Service
from tests.support.streams import ByteServer, transfer
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

_DRIFTS = [drift for number, drift in enumerate(DRIFTS) if number % 4 == 0]


@pytest.fixture(scope="module")
def service(target: RealityTarget, egress: tuple[str, ...], postgres: Cluster) -> Iterator[Service]:
    """A service whose database is on PostgreSQL, and which samples five times a second."""
    settings = {
        "VPNKEYS_DATABASE_URL": postgres.empty_database(),
        "VPNKEYS_TRAFFIC_INTERVAL_S": str(test_traffic_faults.INTERVAL_S),
    }
    with Service(target, egress_allow=egress, settings=settings) as service:
        service.wait_ready()
        yield service
        assert not (service.data_dir / "vpnkeys.db").exists()
        assert "Traceback" not in service.log()


@pytest.mark.parametrize("client_type", [XrayClient, SingBoxClient])
def test_a_key_carries_every_byte_and_stops(
    service: Service, byte_server: ByteServer, client_type: type[XrayClient | SingBoxClient]
) -> None:
    """Made, used, counted to the byte, and deleted."""
    key = make_key(service, "Ключ для мамы")
    with client_type(link_of(service, key)) as client:
        with byte_server.open(client.socks) as sock:
            transfer(sock, 300_007, 700_001, seed=1)
        answer = service.client.get(f"/api/keys/{key['id']}/traffic").json()
        assert answer["total_bytes"] >= 1_000_008
        delete_key(service, key)
        assert not carries(client.socks, byte_server, timeout=5.0)
    assert service.client.get(f"/api/keys/{key['id']}").status_code == 404


@pytest.mark.parametrize("drift", _DRIFTS, ids=lambda drift: drift.name)
def test_drift_is_named_and_mended(service: Service, keys: list[Key], byte_server: ByteServer, drift: Drift) -> None:
    """As on SQLite."""
    drift_is_named_and_mended(service, keys, byte_server, drift)


def test_a_killed_service_counts_on(service: Service, key: Key, byte_server: ByteServer) -> None:
    """As on SQLite: what was counted before the last sample is never lost."""
    test_traffic_faults.test_a_killed_service_loses_what_came_after_its_last_sample_at_most(
        service, key, byte_server, kills=3
    )


def test_a_reset_under_load_loses_nothing_between(service: Service, key: Key, byte_server: ByteServer) -> None:
    """As on SQLite."""
    test_traffic_faults.test_a_reset_under_load_loses_nothing_between(service, key, byte_server)


def test_killed_at_any_moment_it_keeps_its_word(
    target: RealityTarget, egress: tuple[str, ...], postgres: Cluster, byte_server: ByteServer
) -> None:
    """As on SQLite, in fewer rounds: no promise that was answered is broken, and nothing half-made is left."""
    settings = {"VPNKEYS_DATABASE_URL": postgres.empty_database()}
    with Service(target, egress_allow=egress, settings=settings) as service:
        service.wait_ready()
        test_crash.live_through_kills(service, byte_server, 4)
