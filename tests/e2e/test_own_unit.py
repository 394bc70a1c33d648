"""Xray as a unit of its own: the server comes and goes, and no customer notices."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from tests.support.agreement import agreement
from tests.support.clients import XrayClient
from tests.support.counting import (
    Load,
    Watch,
    exact_total_bytes,
    gaps,
    lives,
    now,
    settled_xray_bytes,
    total_bytes,
)
from tests.support.keys import Key, carries, link_of, make_key
from tests.support.pieces import PieceStream
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.streams import ByteServer, Echo, PingPong, ended_within, open_idle, transfer
from tests.support.supervisor import Units, running_units
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e


@pytest.fixture
def units(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Units]:
    """Both, running."""
    with running_units(target, egress) as units:
        yield units


@contextmanager
def unbroken(units: Units, key: Key, byte_server: ByteServer, echo: Echo) -> Iterator[PieceStream]:
    """A customer's connections, through which not one byte is lost."""
    with XrayClient(link_of(units.service, key)) as client, ExitStack() as stack:
        stream = stack.enter_context(PieceStream(client.socks, byte_server))
        ping = stack.enter_context(PingPong(echo.open(client.socks)))
        assert wait_until(lambda: stream.arrived_bytes > 0 and len(ping.round_trips_s) > 3)
        yield stream
        seen, trips = stream.arrived_bytes, len(ping.round_trips_s)
        assert wait_until(lambda: stream.arrived_bytes > seen and len(ping.round_trips_s) > trips + 3)
        assert (stream.broken, ping.broken) == (None, None)


@pytest.mark.parametrize(("restarts", "kills"), [(3, 2), pytest.param(10, 3, marks=pytest.mark.soak)])
def test_a_stream_outlives_the_server(
    units: Units, byte_server: ByteServer, echo: Echo, restarts: int, kills: int
) -> None:
    """Restarts and kills: not one byte is missing, each is counted once, and new keys work in between."""
    service, supervisor = units
    key, xray = make_key(service), supervisor.xray_pid()
    with unbroken(units, key, byte_server, echo) as stream:
        for number in range(restarts + kills):
            if number < restarts:
                assert service.stop() == 0
            else:
                service.kill()
            service.start()
            service.wait_ready()
            arrived = stream.arrived_bytes
            assert total_bytes(service, key) >= arrived
            if number % 4 == 0:
                with XrayClient(link_of(service, make_key(service))) as another:
                    assert carries(another.socks, byte_server)
    counted = settled_xray_bytes(service, key)
    assert exact_total_bytes(service, key) == counted >= stream.arrived_bytes
    assert [life.used_bytes for life in lives(service.database, key)] == [counted]
    assert gaps(service, key) == []
    assert (supervisor.xray_pid(), supervisor.starts) == (xray, 1)
    assert agreement(service) == []


def test_bytes_that_pass_while_there_is_no_server_are_counted(units: Units, byte_server: ByteServer) -> None:
    """The last one counts all up to its end; the next one has the rest, as the timer's command has without it."""
    service, _ = units
    key = make_key(service)
    with XrayClient(link_of(service, key)) as client, byte_server.open(client.socks) as sock:
        for collect in (False, True):
            transfer(sock, 1_000_000, 1_000_000)
            before = settled_xray_bytes(service, key)
            assert service.stop() == 0
            assert _counted(service, key) == before
            transfer(sock, 1_000_000, 1_000_000)
            if collect:
                assert service.program("traffic", "collect").returncode == 0
                assert _counted(service, key) >= before + 2_000_000
            service.start()
            assert exact_total_bytes(service, key) >= before + 2_000_000
            assert service.program("traffic", "collect").returncode == 0


def _counted(service: Service, key: Key) -> int:
    """What stands in the database, of one life of Xray."""
    (life,) = lives(service.database, key)
    return life.used_bytes


def test_a_restart_of_xray_by_the_api_loses_nothing(units: Units, byte_server: ByteServer) -> None:
    """It is ended by the server and started by its supervisor; all that anybody saw counted is in the total."""
    service, supervisor = units
    key, xray = make_key(service), supervisor.xray_pid()
    with XrayClient(link_of(service, key)) as client, Watch(service, key) as watch:
        with Load(client.proxies, [byte_server]) as load:
            assert wait_until(lambda: load.arrived_bytes > 0)
            answer = service.client.post("/api/system/xray/sync-config")
            assert answer.status_code == httpx.codes.OK, answer.text
            assert carries(client.socks, byte_server)
        counted = settled_xray_bytes(service, key)
        assert total_bytes(service, key) >= load.arrived_bytes
        found = lives(service.database, key)
        assert [life.ended_cleanly for life in found] == [True, None]
        assert found[1].used_bytes == counted
        for life in found:
            assert life.used_bytes >= watch.seen_by(life.epoch, now())
    assert supervisor.xray_pid() != xray
    assert supervisor.starts == 2
    assert gaps(service, key) == []


def test_a_killed_xray_comes_back(units: Units, byte_server: ByteServer) -> None:
    """With the server or without it, customers get in again; with it, new keys are made again."""
    service, supervisor = units
    key = make_key(service)
    with XrayClient(link_of(service, key)) as client:
        for with_server in (True, False):
            if not with_server:
                assert service.stop() == 0
            xray = supervisor.xray_pid()
            os.kill(xray, signal.SIGKILL)
            assert wait_until(lambda: carries(client.socks, byte_server, timeout=0.5))
            assert supervisor.xray_pid() != xray
        service.start()
        service.wait_ready()
        with XrayClient(link_of(service, make_key(service))) as another:
            assert carries(another.socks, byte_server)
    assert agreement(service) == []


def test_other_settings_restart_xray_once(units: Units, byte_server: ByteServer, echo: Echo) -> None:
    """Egress rules are Xray's from its start on: it is restarted once for new ones, nothing uncounted; else never."""
    service, supervisor = units
    key, xray = make_key(service), supervisor.xray_pid()
    with XrayClient(link_of(service, key)) as client:
        assert carries(client.socks, byte_server)
        service.env["VPNKEYS_EGRESS_ALLOW"] = echo.egress_rule
        units.restart_server()
        assert wait_until(lambda: supervisor.xray_pid() != xray)
        service.wait_ready()
        with echo.open(client.socks) as sock:
            open_idle(sock)
        assert not carries(client.socks, byte_server, timeout=2.0)
        xray = supervisor.xray_pid()
        units.restart_server()
        units.restart_server()
    assert (supervisor.xray_pid(), supervisor.starts) == (xray, 2)
    assert service.log().count("Xray was started with a configuration that differs") == 1
    found = lives(service.database, key)
    assert [life.ended_cleanly for life in found] == [True, None]
    assert gaps(service, key) == []


def test_a_key_that_expired_meanwhile_is_out(units: Units, echo: Echo) -> None:
    """Its customer goes on while there is no server to stop it, and is cut off by the next one."""
    service, supervisor = units
    key, other = make_key(service), make_key(service)
    with XrayClient.many([link_of(service, key), link_of(service, other)]) as client, ExitStack() as stack:
        late, neighbour = (stack.enter_context(open_idle(echo.open(proxy))) for proxy in client.proxies)
        soon = datetime.now(UTC) + timedelta(seconds=1.5)
        body = {"expires_at": soon.strftime("%Y-%m-%dT%H:%M:%S.%f")}
        assert service.client.patch(f"/api/keys/{key['id']}", json=body).status_code == httpx.codes.OK
        service.kill()
        assert wait_until(lambda: datetime.now(UTC) > soon)
        open_idle(late)
        service.start()
        assert ended_within(late, 10)
        open_idle(neighbour)
    assert agreement(service) == []
    assert supervisor.starts == 1
