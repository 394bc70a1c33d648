"""Bots ask for a restart of Xray after each sale, some of them twice: customers are cut off as seldom as can be."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.support.agreement import agreement, read_config
from tests.support.clients import XrayClient
from tests.support.drift import DRIFTS
from tests.support.keys import Key, carries, delete_key, link_of, make_key
from tests.support.service import Service
from tests.support.streams import ByteServer, Echo, PingPong
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", params=["always", "needed"])
def service(target: RealityTarget, egress: tuple[str, ...], request: pytest.FixtureRequest) -> Iterator[Service]:
    """A service with each setting."""
    with Service(target, egress_allow=egress, settings={"VPNKEYS_SYNC_RESTARTS": request.param}) as service:
        service.wait_ready()
        yield service


@pytest.fixture
def key(service: Service) -> Iterator[Key]:
    """A key that works; afterwards database, file and Xray agree."""
    key = make_key(service)
    yield key
    delete_key(service, key)
    assert agreement(service) == []
    assert "Traceback" not in service.log()


def _is_always(service: Service) -> bool:
    return service.env["VPNKEYS_SYNC_RESTARTS"] == "always"


def _sync(service: Service, query: str = "") -> dict[str, Any]:
    answer = service.client.post(f"/api/system/xray/sync-config{query}", timeout=60)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_calls_in_a_row_and_side_by_side_share_one_restart(
    service: Service, key: Key, echo: Echo, byte_server: ByteServer
) -> None:
    """One at most; who is connected after it stays so, and each answer is true."""
    first = service.xray_pid()
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: _sync(service), range(2)))
    restarted = service.xray_pid()
    assert sorted(answer["restarted"] for answer in answers) == [False, _is_always(service)]
    assert (restarted != first) == _is_always(service)
    with XrayClient(link_of(service, key)) as client, echo.open(client.socks) as sock, PingPong(sock) as pings:
        answers.append(_sync(service))
        assert carries(client.socks, byte_server)
        assert not pings.broken
    assert service.xray_pid() == restarted
    assert answers[-1]["restarted"] is False
    assert {answer["short_id_sync"]["success"] for answer in answers} == {True}


def test_a_shared_restart_repairs_all_the_same(service: Service, key: Key) -> None:
    """What differs when the second call comes is put right, and its answer says so."""
    _sync(service)
    pid = service.xray_pid()
    drift = next(drift for drift in DRIFTS if "wrong short_id" in drift.name)
    drift.make(service, key)
    assert agreement(service) != []
    answer = _sync(service)
    assert agreement(service) == []
    assert (answer["restarted"], service.xray_pid()) == (False, pid)
    assert [fix["uuid"] for fix in answer["short_id_sync"]["fixed_keys"]] in ([], [key["uuid"]])


def test_what_only_a_restart_applies_restarts(service: Service, key: Key, byte_server: ByteServer) -> None:
    """Another section of config.json that was changed by hand, and an Xray that hangs; `force` too."""
    _sync(service)
    pid = service.xray_pid()
    config = read_config(service)
    config["log"] = {**config.get("log", {}), "dnsLog": True}
    (service.data_dir / "config.json").write_text(json.dumps(config))
    assert _sync(service)["restarted"] is True
    assert service.xray_pid() != pid
    pid = service.xray_pid()
    assert _sync(service)["restarted"] is False
    assert _sync(service, "?force=true")["restarted"] is True
    assert service.xray_pid() != pid
    subprocess.run(["kill", "-STOP", str(service.xray_pid())], check=True)
    assert _sync(service)["restarted"] is True
    with XrayClient(link_of(service, key)) as client:
        assert carries(client.socks, byte_server)
