"""`vpnkeys doctor` on a real server: each thing that breaks is told, and what it says mends it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.agreement import agreement
from tests.support.binaries import xray_binary
from tests.support.doctor import CHECKS, examine, examine_as_program, follow, quick
from tests.support.drift import DRIFTS, tag_of
from tests.support.keys import Key, list_keys, make_key
from tests.support.process import ChildProcess, wait_until
from tests.support.service import Service
from tests.support.target import RealityTarget

from vpnkeys.doctor.checks.selftest import NAME

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite]


@pytest.fixture(scope="module")
def service(target: RealityTarget) -> Iterator[Service]:
    """A service with a key."""
    with Service(target) as service:
        service.wait_ready()
        make_key(service, "customer")
        yield service


@pytest.fixture
def key(service: Service) -> Iterator[Key]:
    """The customer's; nothing else is there, before and after, and all agrees."""
    (key,) = list_keys(service)
    yield key
    assert list_keys(service) == [key]
    assert agreement(service) == []


def test_a_server_that_is_well(service: Service, key: Key) -> None:
    """0, every check made, nothing failed, and real bytes through a key that is gone afterwards."""
    report = examine_as_program(service)
    assert (report.code, report.failed()) == (0, [])
    assert {found["check"] for found in report.findings} == CHECKS
    assert report.document["running"]
    assert report.document["status"] in {"ok", "warn"}
    (tested,) = report.of("self-test", "ok")
    assert "carried 97 bytes" in tested["message"]
    for check in CHECKS - {"clock", "backups", "kernel", "targets"}:
        assert {found["level"] for found in report.findings if found["check"] == check} == {"ok"}, report.findings


def test_for_people(service: Service, key: Key) -> None:
    """A table with the same findings; no self-test, no key."""
    told = service.program("doctor", "--no-self-test")
    assert (told.returncode, told.stderr) == (0, "")
    for check in CHECKS - {"self-test"}:
        assert check in told.stdout
    assert "self-test" not in told.stdout


@pytest.mark.parametrize("words", ["a key missing in config.json", "an inbound added to the running Xray"])
def test_drift(service: Service, key: Key, tmp_path: Path, words: str) -> None:
    """Told for config.json and for Xray; the mend brings both to the database."""
    next(drift for drift in DRIFTS if drift.name == words).make(service, key)
    report = quick(service)
    assert report.code == 1
    (found,) = report.of("drift", "fail")
    follow(service, tmp_path, found["mend"])
    assert quick(service).code == 0


def test_a_port_taken_by_another_program(service: Service, key: Key, tmp_path: Path) -> None:
    """Told with the program's name; after the mend the key gets its port back."""
    api = f"--server=unix://{service.data_dir / 'run' / 'api.sock'}"
    subprocess.run([xray_binary(), "api", "rmi", api, tag_of(key)], check=True, capture_output=True)
    with _squatter(key["port"], tmp_path) as squatter:
        (found,) = quick(service).of("ports", "fail")
        assert f"(pid {squatter.pid})" in found["message"]
        follow(service, tmp_path, found["mend"])
        assert wait_until(lambda: not squatter.running)
    assert wait_until(lambda: quick(service).code == 0)


@contextmanager
def _squatter(port: int, directory: Path) -> Iterator[ChildProcess]:
    code = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(100)"
    child = ChildProcess([sys.executable, "-c", code], name="squatter", log_path=directory / "squatter.log")
    try:
        child.wait_listening("127.0.0.1", port)
        yield child
    finally:
        child.stop()


def test_secrets_that_others_can_read(service: Service, key: Key, tmp_path: Path) -> None:
    """Each is named, and one command closes them all."""
    (service.data_dir / "reality.json").chmod(0o644)
    (service.data_dir / "run").chmod(0o755)
    report = quick(service)
    (found,) = report.of("permissions", "fail")
    assert report.code == 1
    assert "reality.json (0644)" in found["message"]
    assert "run (0755)" in found["message"]
    follow(service, tmp_path, found["mend"])
    assert quick(service).code == 0


def test_xray_hangs(service: Service, key: Key, tmp_path: Path) -> None:
    """Told by its pid, and the mend brings a new one."""
    pid = service.xray_pid()
    os.kill(pid, signal.SIGSTOP)
    report = quick(service)
    (found,) = report.of("xray", "fail")
    assert f"(pid {pid}) hangs" in found["message"]
    follow(service, tmp_path, found["mend"])
    assert service.xray_pid() != pid
    service.wait_ready()
    assert quick(service).code == 0


def test_the_key_of_the_test_goes_whoever_ends_it(service: Service, key: Key) -> None:
    """Ctrl-C and SIGTERM while the key is there: it is deleted before the program ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with _interrupted(service, number) as doctor:
            assert doctor.wait(timeout=60) != 0
        assert list_keys(service) == [key]


def test_the_key_of_a_killed_test_goes_with_the_next(service: Service, key: Key) -> None:
    """Nobody can do anything on SIGKILL; the key expires by itself, and the next run deletes it after a minute."""
    with _interrupted(service, signal.SIGKILL) as doctor:
        doctor.wait(timeout=60)
    left = next(left for left in list_keys(service) if left["id"] != key["id"])
    assert left["expires_at"] is not None
    moment = (datetime.now(UTC) - timedelta(minutes=5)).replace(tzinfo=None).isoformat(sep=" ")
    with closing(sqlite3.connect(service.data_dir / "vpnkeys.db")) as database, database:
        database.execute("UPDATE keys SET created_at = ? WHERE id = ?", (moment, left["id"]))
    assert examine(service).code == 0


@contextmanager
def _interrupted(service: Service, number: signal.Signals) -> Iterator[subprocess.Popen[bytes]]:
    """A doctor that gets a signal as soon as its key is there."""
    line = [sys.executable, "-m", "vpnkeys", "doctor"]
    silent = subprocess.DEVNULL
    with subprocess.Popen(line, env=service.env, stdout=silent, stderr=silent) as doctor:
        try:
            made = wait_until(lambda: any(key["name"] == NAME for key in list_keys(service)))
            assert made
            doctor.send_signal(number)
            yield doctor
        finally:
            doctor.kill()
