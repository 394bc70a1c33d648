"""A newcomer's walk: README.md's commands, typed as they stand on a fresh system, lead to bytes through the VPN."""

from __future__ import annotations

import re
import shutil
import ssl
import time
from collections.abc import Iterator

import httpx
import pytest
from tests.support.acme import Pebble
from tests.support.browser import artifacts
from tests.support.clients import SingBoxClient, XrayClient
from tests.support.guest import Guest
from tests.support.internet import Internet
from tests.support.keys import carries
from tests.support.link import VlessLink
from tests.support.manual import EN, runnable
from tests.support.newcomer import TREE, furnish, quick_start
from tests.support.process import REPOSITORY, wait_until
from tests.support.room import FAR4, PUBLIC4
from tests.support.rootfs import NoGuestError

from vpnkeys.settings import DEFAULT_SERVER_NAMES

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

_LINK = re.compile(r"^vless://\S+$", re.MULTILINE)
_LONG_S = 400.0
DOMAIN = "vpn.example.com"


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    """A minimal system with systemd and Python, nothing else, and this source tree."""
    try:
        fresh = Guest()
    except NoGuestError as error:
        pytest.skip(str(error))
    with fresh:
        furnish(fresh)
        yield fresh


def test_a_newcomer_gets_through(guest: Guest) -> None:
    """Nothing is set and nothing is known but the README: its commands end with a link that works from outside.

    They ask nothing, for nobody could answer here, and there is nothing in them to fill in. How long the walk took is
    in newcomer.txt beside the pictures.
    """
    commands = quick_start(REPOSITORY / "README.md")
    assert [command for command in commands if re.search(r"[A-Z<{]", command.partition("#")[0])] == []
    with Internet(guest, DEFAULT_SERVER_NAMES.split(",")) as internet:
        began, said = time.monotonic(), ""
        for command in commands:
            done = guest.run("bash", "-c", f"cd {TREE} && {command}", timeout=_LONG_S)
            assert done.returncode == 0, (
                f"{command}\n{done.stdout}{done.stderr}\n{guest.ok('journalctl', '--no-pager')}"
            )
            said += done.stdout + done.stderr
        link = VlessLink.parse(_LINK.findall(said)[-1])
        assert link.host == PUBLIC4
        for kind in (XrayClient, SingBoxClient):
            with kind(link) as client:
                assert carries(client.socks, internet.bytes), client.log()
            took = f"{len(commands)} commands, {time.monotonic() - began:.0f} s to bytes by {kind.__name__}\n"
            with (artifacts() / "newcomer.txt").open("w" if kind is XrayClient else "a") as measured:
                measured.write(took)


def test_the_first_key_is_made_as_its_page_says(guest: Guest) -> None:
    """Each command of the page, as it stands, where nothing else is installed."""
    script = "\n".join(runnable(EN / "first-key.md", "sh"))
    with Internet(guest, DEFAULT_SERVER_NAMES.split(",")):
        done = guest.run("bash", "-eux", "-c", script, timeout=_LONG_S)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        assert guest.run("vpnkeys", "keys", "show", "friend").returncode == 1


def _is_trusted(client: httpx.Client) -> bool:
    try:
        client.get(f"https://{PUBLIC4}:8000/health", extensions={"sni_hostname": DOMAIN})
    except httpx.ConnectError:
        return False
    return True


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
        command = f"cd {TREE} && ./run --install --yes --domain {DOMAIN}"
        done = guest.run("bash", "-c", command, timeout=_LONG_S)
        assert done.returncode == 0, done.stderr
        assert f"The certificate for {DOMAIN} is there" in done.stderr, f"{done.stderr}\n{pebble.log()}"
        assert f"https://{DOMAIN}:8000/ui/" in done.stderr
        guest.ok("vpnkeys", "keys", "add", "you")
        url = guest.ok("vpnkeys", "keys", "sub", "you").split()[-1]
        assert url.startswith(f"https://{DOMAIN}:8000/sub/")
        with httpx.Client(verify=ssl.create_default_context(cadata=pebble.root()), trust_env=False) as client:
            # The server looks for a new certificate every few seconds.
            assert wait_until(lambda: _is_trusted(client))
            for path in ("/ui/", url.removeprefix(f"https://{DOMAIN}:8000")):
                # Its own name server would do this: connect to the address, and ask for the name.
                there, by_name = f"https://{PUBLIC4}:8000{path}", {"sni_hostname": DOMAIN}
                answer = client.get(there, headers={"Host": f"{DOMAIN}:8000"}, extensions=by_name)
                assert answer.status_code == httpx.codes.OK
        assert guest.ok("stat", "-c", "%a %U", "/var/lib/vpnkeys/acme/account.pem").split() == ["600", "vpnkeys"]
