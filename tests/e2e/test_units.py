"""The units: systemd finds no fault with them, and little that they leave open."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from vpnkeys.install.services import PACKAGED

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: run ./test"),
]

UNITS = sorted(path.name for path in PACKAGED.iterdir())
_SERVICES = [name for name in UNITS if name.endswith(".service")]
# Tenths, of 100. Another systemd may count a little differently than Debian 12's, by which these are.
_MAX_EXPOSURE = {
    "vpnkeys.service": 19,
    "vpnkeys-agent.service": 19,
    "vpnkeys-xray.service": 19,
    "vpnkeys-traffic.service": 10,
}


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze says."""
    return subprocess.run(["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system with our units, its own ones, and programs where the units call for them."""
    shutil.copytree(Path("/lib/systemd/system"), tmp_path / "lib/systemd/system", symlinks=True)
    shutil.copytree(PACKAGED, tmp_path / "etc/systemd/system")
    for program in ("opt/vpnkeys/current/venv/bin/vpnkeys", "bin/sh"):
        (tmp_path / program).parent.mkdir(parents=True)
        shutil.copy("/bin/true", tmp_path / program)
    return tmp_path


def test_there_is_a_unit_for_each_part() -> None:
    """Server or agent, Xray, the counting of traffic, and its timer."""
    assert UNITS == [
        "vpnkeys-agent.service",
        "vpnkeys-traffic.service",
        "vpnkeys-traffic.timer",
        "vpnkeys-xray.service",
        "vpnkeys.service",
    ]


def test_an_agent_may_do_what_a_server_may_and_no_more() -> None:
    """Its unit is the server's, but for the program and its name."""
    server, agent = ((PACKAGED / name).read_text() for name in ("vpnkeys.service", "vpnkeys-agent.service"))
    words = {
        "edit vpnkeys.service": "edit vpnkeys-agent.service",
        "the server of VPN keys": "the agent of a node with VPN keys",
        "bin/vpnkeys serve": "bin/vpnkeys agent",
        "For the server": "For the agent",
    }
    for here, there in words.items():
        assert here in server
        server = server.replace(here, there)
    assert server == agent


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_no_fault(root: Path, unit: str) -> None:
    """Verifying a unit succeeds without a word."""
    done = analyze("verify", f"--root={root}", unit)
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("unit", _SERVICES)
def test_little_is_left_open(unit: str) -> None:
    """Each service is exposed by 1.9 of 10 at most."""
    done = analyze("security", "--offline=true", f"--threshold={_MAX_EXPOSURE[unit]}", str(PACKAGED / unit))
    assert done.returncode == 0, done.stdout[-500:]


@pytest.mark.parametrize("unit", _SERVICES)
def test_none_can_take_the_whole_host(unit: str) -> None:
    """Each has ceilings of memory and tasks; one that serves is slowed down before, and may open many files."""
    lines = (PACKAGED / unit).read_text().splitlines()
    names = {line.partition("=")[0] for line in lines if not line.endswith("infinity")}
    assert {"MemoryMax", "TasksMax"} <= names
    if "Restart=always" in lines:
        assert {"MemoryHigh", "LimitNOFILE"} <= names
