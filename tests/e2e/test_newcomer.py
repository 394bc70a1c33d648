"""A newcomer's walk: README.md's commands, typed as they stand on a fresh system, lead to bytes through the VPN."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.binaries import xray_binary
from tests.support.clients import SingBoxClient, XrayClient
from tests.support.guest import Guest
from tests.support.internet import Internet
from tests.support.keys import carries
from tests.support.link import VlessLink
from tests.support.process import REPOSITORY
from tests.support.room import PUBLIC4
from tests.support.rootfs import NoGuestError

from vpnkeys.settings import DEFAULT_SERVER_NAMES

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

_QUICK_START = re.compile(r"^## Start$.*?^```sh\n(?P<commands>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"^vless://\S+$", re.MULTILINE)
_LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "build", "data")
_LONG_S = 400.0


def quick_start(readme: Path) -> list[str]:
    """The commands of a README's quick start, line by line."""
    found = _QUICK_START.search(readme.read_text())
    assert found is not None, f"{readme.name} has no section Start with commands"
    return found["commands"].splitlines()


@pytest.fixture
def guest() -> Iterator[Guest]:
    """A minimal system with systemd and Python, nothing else, and this source tree."""
    try:
        fresh = Guest()
    except NoGuestError as error:
        pytest.skip(str(error))
    with fresh:
        shutil.copytree(REPOSITORY, fresh.root / "srv/vpnkeys", ignore=_LEFT_OUT, symlinks=True)
        # What comes from the internet elsewhere: the packages, and Xray, which is found on the PATH.
        (fresh.root / "etc/pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        shutil.copy(xray_binary(), fresh.root / "usr/local/bin/xray")
        yield fresh


def test_a_newcomer_gets_through(guest: Guest) -> None:
    """Nothing is set and nothing is known but the README: its commands end with a link that works from outside."""
    with Internet(guest, DEFAULT_SERVER_NAMES.split(",")) as internet:
        said = ""
        for command in quick_start(REPOSITORY / "README.md"):
            done = guest.run("bash", "-c", f"cd /srv/vpnkeys && {command}", timeout=_LONG_S)
            assert done.returncode == 0, (
                f"{command}\n{done.stdout}{done.stderr}\n{guest.ok('journalctl', '--no-pager')}"
            )
            said += done.stdout + done.stderr
        link = VlessLink.parse(_LINK.findall(said)[-1])
        assert link.host == PUBLIC4
        for kind in (XrayClient, SingBoxClient):
            with kind(link) as client:
                assert carries(client.socks, internet.bytes), client.log()
