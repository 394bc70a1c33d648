"""A newcomer's walk: README.md's commands, typed as they stand on a fresh system, lead to bytes through the VPN."""

from __future__ import annotations

import json
import re
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.acme import Pebble
from tests.support.binaries import xray_binary
from tests.support.clients import SingBoxClient, XrayClient
from tests.support.guest import Guest
from tests.support.internet import Internet
from tests.support.keys import carries
from tests.support.link import VlessLink
from tests.support.process import REPOSITORY
from tests.support.room import FAR4, PUBLIC4
from tests.support.rootfs import NoGuestError

from vpnkeys.settings import DEFAULT_SERVER_NAMES

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

_QUICK_START = re.compile(r"^## Start$.*?^```sh\n(?P<commands>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"^vless://\S+$", re.MULTILINE)
_LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "build", "data")
_LONG_S = 400.0
DOMAIN = "vpn.example.com"


def quick_start(readme: Path) -> list[str]:
    """The commands of a README's quick start, line by line."""
    found = _QUICK_START.search(readme.read_text())
    assert found is not None, f"{readme.name} has no section Start with commands"
    return found["commands"].splitlines()


@pytest.fixture(scope="module")
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


def test_a_domain_is_one_more_command(guest: Guest) -> None:
    """Whoever trusts only the authority gets the dashboard and the subscription by the name, without a warning."""
    with (
        Internet(guest, DEFAULT_SERVER_NAMES.split(",")),
        Pebble(80, host=FAR4, address=PUBLIC4) as pebble,
    ):
        shutil.copy(pebble.ca_file, guest.root / "opt/authority.pem")
        (guest.root / "opt/authority.pem").chmod(0o644)
        with (guest.root / "var/lib/vpnkeys/vpnkeys.env").open("a") as settings:
            settings.write(f"VPNKEYS_ACME_DIRECTORY={pebble.directory_url}\nVPNKEYS_ACME_CA_FILE=/opt/authority.pem\n")
        command = f"cd /srv/vpnkeys && ./run --install --yes --domain {DOMAIN}"
        done = guest.run("bash", "-c", command, timeout=_LONG_S)
        assert done.returncode == 0, done.stderr
        assert f"The certificate for {DOMAIN} is there" in done.stderr, f"{done.stderr}\n{pebble.log()}"
        assert f"https://{DOMAIN}:8000/ui/" in done.stderr
        key = json.loads(guest.ok("vpnkeys", "keys", "add", "you", "--json"))
        url = guest.ok("vpnkeys", "keys", "subscribe", key["id"]).split()[-1]
        assert url.startswith(f"https://{DOMAIN}:8000/sub/")
        with httpx.Client(verify=ssl.create_default_context(cadata=pebble.root()), trust_env=False) as client:
            for path in ("/ui/", url.removeprefix(f"https://{DOMAIN}:8000")):
                # Its own name server would do this: connect to the address, and ask for the name.
                there, by_name = f"https://{PUBLIC4}:8000{path}", {"sni_hostname": DOMAIN}
                answer = client.get(there, headers={"Host": f"{DOMAIN}:8000"}, extensions=by_name)
                assert answer.status_code == httpx.codes.OK
        assert guest.ok("stat", "-c", "%a %U", "/var/lib/vpnkeys/acme/account.pem").split() == ["600", "vpnkeys"]
