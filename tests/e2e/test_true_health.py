"""What is wrong is in `/health` within fifteen seconds, be it Xray, the database or a file, and well again after it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.clients import XrayClient
from tests.support.faults import FAULTS, Scene
from tests.support.keys import carries, link_of, make_key
from tests.support.service import Service
from tests.support.streams import ByteServer
from tests.support.target import RealityTarget

from vpnkeys.service.health.codes import Code

pytestmark = pytest.mark.e2e

WITHIN_S = 15.0


@pytest.fixture(scope="module")
def service(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Service]:
    """A service of the module's own, which is well again after each test."""
    with Service(target, egress_allow=egress) as service:
        service.wait_ready()
        yield service


def _health(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = service.client.get("/health").json()
    return found


def _codes(service: Service) -> set[str]:
    """What cannot be had on the host of the test is left out."""
    codes = {problem["code"] for problem in _health(service)["problems"]}
    return codes - {Code.CONNECTIONS_NOT_CUT, Code.GUARD_NOT_KEPT}


@pytest.mark.parametrize("fault", ["Xray frozen for 60 s", "database locked"])
def test_a_fault_is_named_within_fifteen_seconds(service: Service, target: RealityTarget, fault: str) -> None:
    """With its code in /health and in the metrics; each answer of /health comes at once; then all is well again."""
    service.child.wait_for(lambda: _codes(service) == set(), "no problem at first")
    (code,) = FAULTS[fault].codes
    began = time.time()
    with FAULTS[fault].during(Scene(service, target)):
        while code not in _codes(service):
            assert time.time() - began < WITHIN_S
            time.sleep(0.2)
        asked = time.monotonic()
        health = _health(service)
        assert time.monotonic() - asked < 1.0
        assert health["status"] == "degraded"
        (since,) = [problem["since"] for problem in health["problems"] if problem["code"] == code]
        assert int(began) <= since <= time.time()
        assert f'vpnkeys_problem{{code="{code}"}} 1.0' in service.client.get("/metrics").text
    service.child.wait_for(lambda: _codes(service) == set(), "no problem any more")


def test_a_lost_key_pair_is_named_and_written_again(service: Service, byte_server: ByteServer) -> None:
    """With reality.json away or damaged customers stay in; `fix-reality-keys` writes it as it was."""
    reality = service.data_dir / "reality.json"
    before = json.loads(reality.read_bytes())
    with XrayClient(link_of(service, make_key(service))) as client:
        reality.unlink()
        service.child.wait_for(lambda: Code.SECRET_MISSING in _codes(service), "secret_missing")
        (told,) = [one for one in _health(service)["problems"] if one["code"] == Code.SECRET_MISSING]
        assert told["detail"].endswith("(reality.json)")
        assert carries(client.socks, byte_server)
        service.client.post("/api/system/fix-reality-keys").raise_for_status()
        assert json.loads(reality.read_bytes()) == before
        assert reality.stat().st_mode & 0o777 == 0o600
        service.child.wait_for(lambda: carries(client.socks, byte_server, timeout=1.0), "the same link to work")
        service.child.wait_for(lambda: _codes(service) == set(), "no problem any more")
        reality.write_text("{")
        service.client.post("/api/system/fix-reality-keys").raise_for_status()
        assert json.loads(reality.read_bytes()) == before
        assert reality.with_name("reality.json.broken").read_text() == "{"
        service.child.wait_for(lambda: carries(client.socks, byte_server, timeout=1.0), "the same link to work again")
        service.stop()
        service.start()
        service.child.wait_for(
            lambda: carries(client.socks, byte_server, timeout=1.0), "the link to work after a start"
        )
        service.wait_ready()
