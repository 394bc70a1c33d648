"""From the newest release with another database to this tree and back, with keys and traffic, on a booted machine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from tests.support.clients import XrayClient
from tests.support.installed import XRAY, Installed, lasting_keys, revision
from tests.support.keys import carries
from tests.support.link import VlessLink
from tests.support.process import REPOSITORY
from tests.support.rootfs import NoGuestError

from vpnkeys.store.sql.migrate import HEAD

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(1800)]

_TREE = "/opt/vpnkeys-present"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", REPOSITORY, *arguments], capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout.strip():
        pytest.skip(f"the history of this tree is not here: git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


@pytest.fixture(scope="module")
def site() -> Iterator[Installed]:
    """An installation of the commit before the one that changed the tables last."""
    changed = _git("log", "-1", "--format=%H", "-G^HEAD = ", "--", "src/vpnkeys/store/sql/migrate.py")
    try:
        installed = Installed(revision=_git("rev-parse", f"{changed}^"))
    except NoGuestError as error:
        pytest.skip(str(error))
    with installed:
        yield installed


def use(site: Installed, link: VlessLink) -> int:
    """Let the key of a link carry, and return what it has used in all."""
    with XrayClient(link) as client:
        site.wait_carries(client.socks)
    return site.total(link)


def test_there_and_back_and_there_again(site: Installed) -> None:
    """Links of before work all the time, totals are equal after each switch, and Xray is never restarted."""
    first = site.new_link()
    used = use(site, first)
    keys, before, xray = lasting_keys(site), revision(site), site.guest.main_pid(XRAY)
    assert before != HEAD

    site.tree(_TREE.removeprefix("/opt/"))
    done = site.run(f"{_TREE}/run", "--install")
    assert done.returncode == 0, f"{done.stderr}\n{site.journal()}"
    assert (revision(site), site.total(first)) == (HEAD, used)
    later = site.new_link()
    use(site, later)
    used = use(site, first)

    done = site.run("vpnkeys", "upgrade", "--back")
    assert done.returncode == 0, f"{done.stderr}\n{site.journal()}"
    assert "keys made since are gone" in done.stderr
    site.wait_ready()
    assert (revision(site), site.total(first), lasting_keys(site)) == (before, used, keys)
    with XrayClient(later) as client:
        assert not carries(client.socks, site.bytes)
    used = use(site, first)

    done = site.run(f"{_TREE}/run", "--install")
    assert done.returncode == 0, f"{done.stderr}\n{site.journal()}"
    site.wait_ready()
    assert (revision(site), site.total(first)) == (HEAD, used)
    assert use(site, first) > used
    assert site.guest.main_pid(XRAY) == xray
