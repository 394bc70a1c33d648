"""Speed limits on keys of a running service, judged by what real clients move in the time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.support.clients import XrayClient
from tests.support.goodput import Flow, goodput, rate_of
from tests.support.keys import link_of, make_key
from tests.support.process import wait_until
from tests.support.room import can_make_rooms
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.socks import Address
from tests.support.streams import ByteServer, Echo, PingPong
from tests.support.target import RealityTarget

from vpnkeys.domain.errors import SpeedLimitImpossible
from vpnkeys.xray.host.guard import table_of
from vpnkeys.xray.host.speed import SpeedLimiter

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not can_make_rooms(), reason="needs root and nft")]

_GOAL_S = 10
_BUCKET_S = 1.5  # for the second's worth that a new limit lets pass first
_AT_LEAST, _AT_MOST = 0.70, 1.05


@dataclass(frozen=True)
class Scene:
    """A service with two keys to be limited, reached over IPv4 and IPv6, and their neighbour."""

    limiter: SpeedLimiter
    port: int
    second_port: int
    limited4: Address
    limited6: Address
    second4: Address
    second6: Address
    neighbour: Address


@pytest.fixture(scope="module")
def scene(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Scene]:
    """One service and one client with five ways in."""
    settings = {"VPNKEYS_INBOUND_LISTEN": "::"}
    with Service(target, egress_allow=egress, settings=settings) as service:
        service.wait_ready()
        names = ("limited", "second", "neighbour")
        limited, second, neighbour = (link_of(service, make_key(service, name)) for name in names)
        limiter = SpeedLimiter(f"{table_of(service.data_dir)}_test")
        ways = [replace(link, host=host) for link in (limited, second) for host in (link.host, "::1")]
        with XrayClient.many([*ways, neighbour]) as client:
            yield Scene(limiter, limited.port, second.port, *client.proxies)
        limiter.remove()


@pytest.fixture(autouse=True)
def _lifted(scene: Scene) -> Iterator[None]:
    yield
    scene.limiter.apply({})


@pytest.fixture
def table() -> Iterator[str]:
    """A table's name that is free again afterwards."""
    name = f"vpnkeys_test_{os.getpid()}"
    yield name
    subprocess.run(["nft", "delete", "table", "inet", name], capture_output=True, check=False)


def test_limits_are_kept_both_ways_and_a_neighbour_is_free(scene: Scene, byte_server: ByteServer, echo: Echo) -> None:
    """Over ten seconds a key moves 70 to 105 % of its limit up and as much down, over both kinds of IP.

    It does so by one connection, and by four; beside another limited key. Meanwhile their neighbour moves far more than
    that, and its messages come back at once.
    """
    one, many = 20, 40
    scene.limiter.apply({scene.port: one, scene.second_port: many})
    ways = ((one, 1, (scene.limited4, scene.limited6)), (many, 4, (scene.second4, scene.second6)))
    moved: dict[tuple[int, str], Future[float]] = {}
    with PingPong(echo.open(scene.neighbour)) as messages, ThreadPoolExecutor(4) as pool:
        for mbps, connections, both in ways:
            # One way is IPv4 for the first connection, IPv6 for the next: a key's limit is for both together.
            proxies = [both[number % 2] for number in range(connections + 1)]
            moved[mbps, "down"] = pool.submit(goodput, byte_server, proxies[:-1], "down", _GOAL_S)
            moved[mbps, "up"] = pool.submit(goodput, byte_server, proxies[1:], "up", _GOAL_S)
        neighbour = goodput(byte_server, [scene.neighbour], "down", 2)
        shares = {(mbps, way): found.result() / mbps for (mbps, way), found in moved.items()}
    slow = slowness()
    assert all(_AT_LEAST / slow <= share <= _AT_MOST for share in shares.values()), shares
    assert neighbour > 2 * many / slow
    assert messages.broken is None
    assert messages.stall_s < 0.5


def test_a_limit_changes_under_an_open_connection(scene: Scene, byte_server: ByteServer) -> None:
    """Set, raised, lowered and lifted: the same download follows within a second and is never cut."""
    with Flow(byte_server, scene.limited4, "down") as download:
        assert rate_of([download], 0.5) > 80 / slowness()
        for mbps in (5, 40, 5):
            scene.limiter.apply({scene.port: mbps})
            time.sleep(_BUCKET_S)
            assert 0.6 * mbps / slowness() < rate_of([download], 1.5) < 1.2 * mbps
        scene.limiter.apply({})
        assert rate_of([download], 1.0) > 80 / slowness()


def test_another_keys_limit_changes_nothing_here(scene: Scene, byte_server: ByteServer) -> None:
    """A port that is added to the limits leaves the others as they are."""
    with Flow(byte_server, scene.limited4, "down") as download:
        scene.limiter.apply({scene.port: 10})
        scene.limiter.apply({scene.port: 10, 9: 1})
        time.sleep(_BUCKET_S)
        assert 6 / slowness() < rate_of([download], 1.5) < 12


def _listing(table: str) -> str | None:
    """What the kernel has of this table, if anything."""
    done = subprocess.run(["nft", "list", "table", "inet", table], capture_output=True, text=True, check=False)
    return "\n".join(sorted(done.stdout.splitlines())) if done.returncode == 0 else None


def test_what_a_killed_process_leaves_is_replaced(table: str) -> None:
    """After SIGKILL the limits stay; the next process has its own in their place, or none."""
    code = f"""if True:
        import os
        from vpnkeys.xray.host.speed import SpeedLimiter
        SpeedLimiter({table!r}).apply({{9: 7}})
        os.kill(os.getpid(), 9)"""
    for limits in ({11: 3}, {}):
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
        assert "down_9" in (_listing(table) or "")
        limiter = SpeedLimiter(table)
        limiter.apply(limits)
        listing = _listing(table)
        assert listing is None if not limits else listing is not None and "down_9 " not in listing
        limiter.remove()
        assert _listing(table) is None


def test_two_servers_do_not_meet(table: str) -> None:
    """One server's end takes away none of another's limits; a name that begins the same way is another name."""
    one, other = SpeedLimiter(table), SpeedLimiter(f"{table}_too")
    one.apply({9: 7})
    other.apply({9: 8})
    listing = _listing(table)
    other.remove()
    assert _listing(table) == listing is not None
    one.remove()


def test_somebody_takes_the_table_away(table: str) -> None:
    """As a restarted firewall service does: it is back soon, and the same limits again do no harm."""
    limiter = SpeedLimiter(table)
    limiter.apply({9: 7})
    listing = _listing(table)
    subprocess.run(["nft", "delete", "table", "inet", table], check=True)
    assert wait_until(lambda: _listing(table) == listing)
    limiter.apply({9: 7})
    assert _listing(table) == listing
    limiter.remove()


def test_without_the_capability_it_is_impossible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, table: str) -> None:
    """A real nft that may not: the limit is refused with what to do about it, and nothing is in force."""
    script = tmp_path / "nft"
    script.write_text(
        f'#!/bin/sh\nexec {shutil.which("setpriv")} --bounding-set=-net_admin {shutil.which("nft")} "$@"\n'
    )
    script.chmod(0o755)
    limiter = SpeedLimiter(table)
    with monkeypatch.context() as without:
        without.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        assert not limiter.is_possible()
        with pytest.raises(SpeedLimitImpossible, match=r"Operation not permitted.*CAP_NET_ADMIN"):
            limiter.apply({9: 7})
    assert _listing(table) is None
    limiter.apply({9: 7})  # remedied
    assert limiter.is_possible()
    limiter.remove()
