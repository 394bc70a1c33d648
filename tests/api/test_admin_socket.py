"""The Unix socket that needs no API key: who gets in by it, and who does not."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.support.service import Service
from tests.support.target import RealityTarget

from vpnkeys.client import Client, TooManyRequests
from vpnkeys.settings import admin_socket

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def service(target: RealityTarget) -> Iterator[Service]:
    """A service of this module's own."""
    with Service(target) as service:
        yield service


def _socket(service: Service) -> Path:
    return admin_socket(service.data_dir)


@contextmanager
def _open_to_all(path: Path) -> Iterator[None]:
    """Let everybody through the directories of the service, for a moment."""
    mine = [above for above in path.parents if above.stat().st_mode & 0o077 == 0]
    for directory in mine:
        directory.chmod(0o755)
    try:
        yield
    finally:
        for directory in mine:
            directory.chmod(0o700)


class TestTheSocket:
    """The way in without an API key is only for who owns the server."""

    def test_only_the_owner_can_open_it(self, service: Service) -> None:
        """Mode 0600 in a directory of mode 0700."""
        path = _socket(service)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
    def test_somebody_else_cannot_open_it(self, service: Service) -> None:
        """Even where every directory above would let them through."""
        path = _socket(service)
        script = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        as_nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "/usr/bin/python3", "-c"]
        with _open_to_all(path):
            told = subprocess.run(
                [*as_nobody, script, str(path)], capture_output=True, text=True, timeout=30, check=False
            )
        assert "PermissionError" in told.stderr

    @pytest.mark.parametrize("is_all", [False, True], ids=["the file", "the directory"])
    def test_it_is_there_again(self, service: Service, is_all: bool) -> None:
        """Its file is removed while the server runs: commands reach it again, and connected ones still do."""
        path = _socket(service)
        with Client.local(path) as before:
            before.keys.list()
            if is_all:
                shutil.rmtree(path.parent.resolve())
            else:
                path.unlink()
            service.child.wait_for(path.exists, "the socket", 30.0)
            before.keys.list()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with Client.local(path) as after:
            after.keys.list()
        service.wait_ready()

    @pytest.mark.parametrize(
        "headers",
        [
            {"vpnkeys.trusted": "True"},
            {"X-Vpnkeys-Trusted": "true"},
            {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http"},
            {"Host": "localhost"},
            {"Forwarded": "for=unix"},
        ],
    )
    def test_tcp_cannot_pretend_to_be_it(self, service: Service, headers: Mapping[str, str]) -> None:
        """Nothing that a request can say takes the place of the API key."""
        with service.new_client(api_key="") as stranger:
            for url in ("/api/keys", "/api/keys?vpnkeys.trusted=True"):
                assert stranger.get(url, headers=headers).status_code == httpx.codes.UNAUTHORIZED

    def test_trust_does_not_spread(self, service: Service) -> None:
        """A request by the socket changes nothing for those that follow by TCP."""
        transport = httpx.HTTPTransport(uds=str(_socket(service)))
        with httpx.Client(transport=transport, base_url="http://localhost") as inside:
            assert inside.get("/api/keys").status_code == httpx.codes.OK
        with service.new_client(api_key="") as stranger:
            assert stranger.get("/api/keys").status_code == httpx.codes.UNAUTHORIZED

    def test_the_limits_of_the_api_key_are_not_its_limits(self, target: RealityTarget) -> None:
        """Whoever needs no key cannot use up the key's requests, nor be stopped by those who did."""
        with Service(target, settings={"VPNKEYS_RATE_LIMITS": "list=1/minute"}) as service:
            ca = service.data_dir / "tls" / "cert.pem"
            with (
                Client(service.base_url, service.api_key, verify=ca) as client,
                Client.local(_socket(service)) as local,
            ):
                for _ in range(3):
                    local.keys.list()
                client.keys.list()
                with pytest.raises(TooManyRequests) as refused:
                    client.keys.list()
                assert 0 < (refused.value.retry_after_s or 0) <= 60
                local.keys.list()

    def test_it_outlives_a_crash_and_goes_at_an_orderly_end(self, target: RealityTarget) -> None:
        """What a killed server left behind is replaced at the next start; a stopped one leaves nothing."""
        with Service(target) as service:
            service.kill()
            assert service.program("status").returncode == 3
            service.start()
            assert service.cli("status").returncode == 0
            assert service.stop() == 0
            assert not _socket(service).exists()
