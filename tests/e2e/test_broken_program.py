"""A program of Xray that hangs: what is waited for is said within seconds, and the end says what to do."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.binaries import xray_binary
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

HANGS = "exec /bin/sleep 600"
VERSION_ALONE = f'[ "$1" != version ] || exec {xray_binary()} "$@"\n{HANGS}'


@contextmanager
def started(target: RealityTarget, directory: Path, script: str, *command: str) -> Iterator[tuple[list[str], Path]]:
    """Run a command with this program as Xray; give what it runs by, and where its output goes."""
    directory.mkdir()
    program, log = directory / "xray", directory / "log"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    supervisor = "systemd" if command[0] == "xray" else "vpnkeys"
    settings = {"VPNKEYS_XRAY_BIN": str(program), "VPNKEYS_XRAY_SUPERVISOR": supervisor}
    service = Service(target, settings=settings, data_dir=directory / "data")
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "vpnkeys", *command], env=service.env, stderr=out, stdout=out)
    ended: list[str] = []
    try:
        yield ended, log
        assert wait_until(lambda: process.poll() is not None)
        ended.append(str(process.returncode))
    finally:
        process.kill()
        process.wait()
        service.close()


def test_it_hangs(target: RealityTarget, tmp_path: Path) -> None:
    """At `version` or at its own test of config.json, told and bounded, for the server and for `vpnkeys xray run`.

    The name is short because that of the directory follows it, and paths of sockets are bounded.
    """
    began = time.monotonic()
    with (
        started(target, tmp_path / "a", HANGS, "serve") as (version, at_version),
        started(target, tmp_path / "b", HANGS, "xray", "run") as (unit, in_unit),
        started(target, tmp_path / "c", VERSION_ALONE, "serve") as (test, at_test),
    ):
        for log in (at_version, in_unit, at_test):
            assert wait_until(lambda log=log: "Waiting for `" in log.read_text()), log.read_text()  # type: ignore[misc]
        assert time.monotonic() - began < 8.0 * slowness()
        assert "xray version`" in at_version.read_text()
        assert "it is given 10 s" in at_version.read_text()
        assert "run -test" in at_test.read_text()
    assert version + unit + test == ["1", "1", "1"]
    assert time.monotonic() - began < 40.0 * slowness()
    for log, who in ((at_version, "vpnkeys cannot start"), (in_unit, "Xray cannot start")):
        last = log.read_text().splitlines()[-1]
        assert last.startswith(f"{who}: VPNKEYS_XRAY_BIN: ")
        assert "did not say its version within 10 s: it hangs. Set it to an Xray from" in last
    last = at_test.read_text().splitlines()[-1]
    assert "did not finish its own test of config.json within 20 s" in last
    assert "set VPNKEYS_XRAY_BIN to an Xray that works" in last
    assert not list((tmp_path / "c" / "data").glob("config.json.refused"))
