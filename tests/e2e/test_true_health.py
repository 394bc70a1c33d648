"""While Xray is frozen or the database is locked, `/health` says so within fifteen seconds, and well again after it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.faults import FAULTS, Scene
from tests.support.service import Service
from tests.support.target import RealityTarget

from vpnkeys.service.health.codes import Code

pytestmark = pytest.mark.e2e

WITHIN_S = 15.0


@pytest.fixture
def service(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Service]:
    """A service of the test's own."""
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
