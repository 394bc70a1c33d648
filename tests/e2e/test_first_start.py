"""The first start makes what is missing, tells its secret once, and says plainly what is wrong with the settings."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from tests.support.keys import make_key
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite]

_API_KEY = re.compile(r"API key, shown this once: (\S+)")


@pytest.fixture
def fresh(target: RealityTarget) -> Iterator[Service]:
    """A service without a data directory and without an API key of the operator's, not started; a lax umask."""
    service = Service(target, settings={"VPNKEYS_API_KEY": None})
    service.data_dir.rmdir()
    before = os.umask(0o022)
    yield service
    os.umask(before)
    service.close()


def everything_below(directory: Path) -> list[Path]:
    """All files and directories."""
    return sorted(directory.rglob("*"))


def test_only_its_owner_reads_the_data(fresh: Service) -> None:
    """The data directory is made with 0700, and every file below it, whatever it is, is for its owner alone."""
    fresh.start()
    fresh.wait_ready()
    (api_key,) = _API_KEY.findall(fresh.log())
    with fresh.new_client(api_key) as client:
        assert client.post("/api/keys", json={"name": "x"}).status_code == httpx.codes.OK
    assert fresh.data_dir.stat().st_mode & 0o777 == 0o700
    assert {"config.json", "reality.json", "api-key.json", "vpnkeys.db"} <= {p.name for p in fresh.data_dir.iterdir()}
    assert [str(path) for path in everything_below(fresh.data_dir) if path.stat().st_mode & 0o077] == []


def test_an_open_data_directory_is_closed(fresh: Service) -> None:
    """A data directory that others may read is theirs no more after a start."""
    fresh.data_dir.mkdir(mode=0o755)
    fresh.start()
    assert fresh.data_dir.stat().st_mode & 0o777 == 0o700


def test_the_api_key_is_told_once(fresh: Service) -> None:
    """The API key that was made is printed by the first start alone, opens the API for ever, and stands in no file."""
    fresh.start()
    (api_key,) = _API_KEY.findall(fresh.log())
    fresh.stop()
    printed = len(fresh.log())
    fresh.start()
    assert api_key not in fresh.log()[printed:]
    assert not _API_KEY.search(fresh.log()[printed:])
    with fresh.new_client(api_key) as client:
        assert client.get("/api/keys").status_code == httpx.codes.OK
    files = [path for path in everything_below(fresh.data_dir) if path.is_file()]
    assert [path.name for path in files if api_key.encode() in path.read_bytes()] == []


def test_the_certificate_is_for_this_host(fresh: Service) -> None:
    """The self-signed certificate covers 127.0.0.1 and localhost, passes a strict check, and stays the same."""
    fresh.start()
    pem = (fresh.data_dir / "tls" / "cert.pem").read_bytes()
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert ipaddress.ip_address("127.0.0.1") in names.get_values_for_type(x509.IPAddress)
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    strict = ssl.create_default_context(cadata=pem.decode())
    with httpx.Client(verify=strict, trust_env=False) as client:
        for host in ("127.0.0.1", "localhost"):
            assert client.get(f"https://{host}:{fresh.address[1]}/health").status_code == httpx.codes.OK
    fresh.stop()
    fresh.start()
    assert (fresh.data_dir / "tls" / "cert.pem").read_bytes() == pem


def test_a_second_service_is_refused(service: Service, target: RealityTarget) -> None:
    """Another service on the same data directory ends with status 2 and a clear line; the first one does not notice."""
    second = Service(target, data_dir=service.data_dir)
    try:
        done = second.program("serve")
    finally:
        second.close()
    assert done.returncode == 2
    assert f"another vpnkeys uses {service.data_dir}; stop that one first" in done.stderr
    assert "Traceback" not in done.stderr
    service.wait_healthy()
    make_key(service)


def test_all_wrong_settings_are_named_at_once(target: RealityTarget) -> None:
    """An unknown name and every wrong value are told together, with status 2, before anything is made."""
    wrong = {
        "VPNKEYS_NO_SUCH_THING": "1",
        "VPNKEYS_LISTEN": "nowhere",
        "VPNKEYS_PORT_RANGE": "5-1",
        "VPNKEYS_API_KEY": "tooshortakey",
        "VPNKEYS_INBOUND_LISTEN": "eth0",
        "VPNKEYS_REALITY_SERVER_NAMES": "UPPER.example.com",
        "VPNKEYS_REALITY_TARGET": "no-port",
        "VPNKEYS_EGRESS_ALLOW": "everything",
        "VPNKEYS_TRAFFIC_INTERVAL_S": "-1",
        "VPNKEYS_TLS_CERT": "/only/the/certificate.pem",
    }
    service = Service(target, settings=wrong)
    try:
        done = service.program("serve")
        made = everything_below(service.data_dir)
    finally:
        service.close()
    assert done.returncode == 2
    assert [name for name in wrong if name not in done.stderr] == []
    assert "tooshortakey" not in done.stderr
    assert "Traceback" not in done.stderr
    assert made == []


def test_settings_are_read_from_the_data_directory(fresh: Service) -> None:
    """An unknown name in vpnkeys.env is refused like one in the environment."""
    fresh.data_dir.mkdir(mode=0o700)
    (fresh.data_dir / "vpnkeys.env").write_text("VPNKEYS_NO_SUCH_THING=1\n")
    done = fresh.program("serve")
    assert (done.returncode, "VPNKEYS_NO_SUCH_THING" in done.stderr) == (2, True)
