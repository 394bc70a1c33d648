"""An installation on a machine that was booted by systemd, from the first ./run --install to --uninstall."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.clients import XrayClient
from tests.support.installed import (
    SERVER,
    XRAY,
    Installed,
    lasting_keys,
    left_behind,
    releases,
    replace,
    revision,
    xrays,
)
from tests.support.keys import carries
from tests.support.link import VlessLink
from tests.support.process import wait_until
from tests.support.rootfs import NoGuestError

from vpnkeys import __version__
from vpnkeys.store.sql.migrate import HEAD
from vpnkeys.xray.process.tried import tried_versions

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

_CAPABILITIES = 1 << 10 | 1 << 12  # CAP_NET_BIND_SERVICE, CAP_NET_ADMIN (linux/capability.h)


@pytest.fixture(scope="module")
def site() -> Iterator[Installed]:
    """One installation, which the tests of this file treat in their order."""
    try:
        installed = Installed()
    except NoGuestError as error:
        pytest.skip(str(error))
    with installed:
        yield installed


@pytest.fixture(scope="module")
def link(site: Installed) -> VlessLink:
    """A key's link, which has to outlive everything."""
    return site.new_link()


def server_version(site: Installed) -> str:
    """The version that answers."""
    return str(site.health().get("service_version"))


def fail_to_install(site: Installed) -> None:
    """Wrong settings and a taken port are told before anything is made; when the start fails, all of it goes again."""
    env_file = site.guest.root / "var/lib/vpnkeys/vpnkeys.env"
    right = env_file.read_text()
    env_file.write_text(f"{right}VPNKEYS_NO_SUCH_THING=1\n")
    done = site.try_to_install()
    assert (done.returncode, "VPNKEYS_NO_SUCH_THING" in done.stderr) == (2, True), done.stderr
    assert left_behind(site) == []
    env_file.write_text(right)
    with socket.create_server(("0.0.0.0", 8000)):  # noqa: S104 - in the guest, whose network is its loopback
        done = site.try_to_install()
    assert (done.returncode, "the API's port 8000 is taken by" in done.stderr) == (1, True), done.stderr
    assert left_behind(site) == []
    env_file.write_text(f"{right}VPNKEYS_LISTEN=192.0.2.1:8000\n")  # an address that is not the guest's
    site.newer("99.0.3")
    # What ./run becomes, with the environment of the first tree: a release of this one is made in a tenth of the time.
    done = site.try_to_install("/opt/vpnkeys-src/.venv/bin/vpnkeys", "install", "/opt/vpnkeys-99.0.3")
    assert (done.returncode, "the server does not start" in done.stderr) == (1, True), done.stderr
    assert left_behind(site) == []
    env_file.write_text(right)


def spoil_migrations(tree: Path, body: str) -> None:
    """One more migration."""
    replace(tree / "src/vpnkeys/store/sql/migrate.py", r'^HEAD = ".*"', 'HEAD = "9999"')
    (tree / "src/vpnkeys/store/sql/migrations/versions/r9999_more.py").write_text(
        "from alembic import op\n"
        f'revision, down_revision, branch_labels, depends_on = "9999", "{HEAD}", None, None\n'
        f"def upgrade() -> None:\n    {body}\n"
    )


def test_the_first_installation_tells_what_it_made(site: Installed) -> None:
    """It prints URL, fingerprint and an API key that opens the API; the key stands in no journal and no file."""
    said = site.first_words
    assert f"vpnkeys {__version__} serves https://127.0.0.1:8000" in said
    assert "tcp dport '{ 8000, 10001-10100 }' accept" in said
    (api_key,) = re.findall(r"API key, shown this once: (\S+)", said)
    with httpx.Client(base_url="https://127.0.0.1:8000", verify=False, trust_env=False) as client:  # noqa: S501
        assert client.get("/api/keys", headers={"X-API-Key": api_key}).status_code == httpx.codes.OK
        assert client.get("/api/keys", headers={"X-API-Key": f"{api_key}x"}).status_code == httpx.codes.UNAUTHORIZED
    assert api_key not in site.journal()
    data_dir = site.guest.root / "var/lib/vpnkeys"
    assert [path for path in data_dir.rglob("*") if path.is_file() and api_key.encode() in path.read_bytes()] == []


def test_only_its_user_reads_the_data(site: Installed) -> None:
    """Everything below /var/lib/vpnkeys, and where its links lead, belongs to vpnkeys and to nobody else."""
    paths = site.guest.ok("find", "-L", "/var/lib/vpnkeys", "-printf", "%u:%g %04m %p\n").splitlines()
    assert "vpnkeys:vpnkeys 0700 /var/lib/vpnkeys" in paths
    assert [line for line in paths if not re.match(r"vpnkeys:vpnkeys [0-7][0-7]00 ", line)] == []


@pytest.mark.parametrize("unit", [SERVER, XRAY])
def test_services_have_two_capabilities_and_no_more(site: Installed, unit: str) -> None:
    """Server and Xray run as the user vpnkeys, who has no shell, with CAP_NET_BIND_SERVICE and CAP_NET_ADMIN alone."""
    status = site.guest.ok("cat", f"/proc/{site.guest.main_pid(unit)}/status")
    fields = dict(line.partition(":\t")[::2] for line in status.splitlines())
    uid = site.guest.ok("id", "-u", "vpnkeys").strip()
    assert fields["Uid"].split() == [uid] * 4
    assert {int(fields[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {_CAPABILITIES}
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    assert site.guest.ok("getent", "passwd", "vpnkeys").strip().endswith(":/usr/sbin/nologin")


def test_no_capability_is_missing(site: Installed) -> None:
    """With what the services may do, connections are cut, the kernel guards, and speeds are limited."""
    health = site.health()
    assert (health["connection_cut"], health["udp_full_cone"]) == ("available", "available")
    key = site.cli("keys", "add", "slow", "--speed", "5")["key"]
    assert key["speed_limit_mbps"] == 5
    site.guest.ok("vpnkeys", "keys", "rm", key["id"])


def test_no_capability_is_missing_to_the_doctor_of_root(site: Installed) -> None:
    """It works as the server's user, and sees the firewall and the server's process all the same."""
    done = site.run("vpnkeys", "doctor", "--no-self-test", "--json")
    found = {one["check"]: one["message"] for one in json.loads(done.stdout)["findings"]}
    assert "lets the ports in" in found["firewall"], found
    assert "only the server's user can access" in found["permissions"], found
    assert [message for message in found.values() if "cannot be read" in message] == []


def test_the_check_of_versions_knows_the_release(site: Installed) -> None:
    """Root is told where it is, what it was made from, what runs, and which Xray."""
    done = site.run("vpnkeys", "version", "--check", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["installed"]["kind"] == "release"
    assert said["installed"]["path"] == f"/opt/vpnkeys/releases/{__version__}-1"
    assert said["installed"]["source"] == "/opt/vpnkeys-src"
    assert said["server"]["version"] == __version__
    assert said["xray"]["path"] == site.guest.ok("readlink", "-f", "/opt/vpnkeys/xray/current/xray").strip()
    assert (said["xray"]["is_running"], said["xray"]["is_tried"]) == (True, True)


def test_a_key_carries(site: Installed, link: VlessLink) -> None:
    """A key made by the command carries bytes."""
    with XrayClient(link) as client:
        site.wait_carries(client.socks)


def test_a_second_installation_does_nothing(site: Installed, link: VlessLink) -> None:
    """Installing the same tree again ends no process and no connection, and makes no release."""
    before = [site.guest.main_pid(unit) for unit in (SERVER, XRAY)], releases(site)
    with site.customer(link) as pings:
        assert "nothing to do" in site.install()
    assert ([site.guest.main_pid(unit) for unit in (SERVER, XRAY)], releases(site)) == before
    assert pings.broken is None


@pytest.mark.parametrize("times", [3, pytest.param(10, marks=pytest.mark.soak)])
def test_connections_outlive_restarts(site: Installed, link: VlessLink, times: int) -> None:
    """A customer does not notice `systemctl restart vpnkeys`, however often."""
    xray = site.guest.main_pid(XRAY)
    with site.customer(link) as pings:
        for _ in range(times):
            site.guest.ok("systemctl", "restart", SERVER)
        done = len(pings.round_trips_s)
        assert wait_until(lambda: len(pings.round_trips_s) > done + 5)
        assert pings.broken is None
    assert site.guest.main_pid(XRAY) == xray


def test_a_restore_needs_no_stop_by_hand(site: Installed, link: VlessLink) -> None:
    """What was made since the backup is gone, what was there works, and a customer of it does not notice."""
    assert site.run("vpnkeys", "backup", "/root/now.backup").returncode == 0
    later = site.new_link()
    with site.customer(link) as pings:
        assert site.run("vpnkeys", "restore", "/root/no-such-file").returncode != 0
        assert site.health()["status"] in {"healthy", "degraded"}
        done = site.run("vpnkeys", "restore", "--force", "/root/now.backup")
        assert done.returncode == 0, done.stderr
        site.wait_ready()
        assert pings.broken is None
    known = [key["uuid"] for key in site.cli("keys", "list")]
    assert (link.uuid in known, later.uuid in known) == (True, False)
    assert site.guest.show("vpnkeys-traffic.timer", "ActiveState")["ActiveState"] == "active"


def test_connections_outlive_an_upgrade(site: Installed, link: VlessLink) -> None:
    """An upgrade puts the new version in place; a customer does not notice, and the release before is kept."""
    tree = site.newer("99.0.0")
    # The first release cannot use what this one makes of the database.
    spoil_migrations(tree, 'op.execute("CREATE TABLE newer (id INTEGER)")')
    xray = site.guest.main_pid(XRAY)
    with site.customer(link) as pings:
        done = site.run("vpnkeys", "upgrade", "/opt/vpnkeys-99.0.0")
        assert done.returncode == 0, done.stderr
        assert pings.broken is None
    assert (server_version(site), site.guest.main_pid(XRAY), revision(site)) == ("99.0.0", xray, "9999")
    assert releases(site) == [f"{__version__}-1", "99.0.0-2"]


def test_connections_outlive_the_way_back(site: Installed, link: VlessLink) -> None:
    """Program and data of before the upgrade come back, and it is said what that loses; a customer does not notice."""
    xray, keys = site.guest.main_pid(XRAY), lasting_keys(site)
    later = site.new_link()
    with site.customer(link) as pings:
        before = site.total(link)
        done = site.run("vpnkeys", "upgrade", "--back")
        assert done.returncode == 0, done.stderr
        assert pings.broken is None
        assert site.total(link) >= before  # Xray still has what was counted since the upgrade
    assert "keys made since are gone, and their links do not work any more: me" in done.stderr
    assert (server_version(site), site.guest.main_pid(XRAY), revision(site)) == (__version__, xray, HEAD)
    assert lasting_keys(site) == keys
    with XrayClient(later) as client:
        assert not carries(client.socks, site.bytes)
    kept = re.findall(r"vpnkeys restore --force (\S+)", done.stderr)
    assert len(kept) == 1
    done = site.run("vpnkeys", "upgrade", "--back")
    assert (done.returncode, "no release before" in done.stderr) == (1, True), done.stderr
    assert server_version(site) == __version__


def test_an_upgrade_whose_migration_fails_changes_nothing(site: Installed) -> None:
    """A new version that cannot use a copy of the data never gets the data; the old one is not even restarted."""
    spoil_migrations(site.newer("99.0.1"), 'raise RuntimeError("broken migration")')
    server, kept = site.guest.main_pid(SERVER), releases(site)
    done = site.run("vpnkeys", "upgrade", "/opt/vpnkeys-99.0.1")
    assert (done.returncode, "broken migration" in done.stderr) == (1, True), done.stderr
    assert "nothing was changed" in done.stderr
    assert (site.guest.main_pid(SERVER), server_version(site), releases(site)) == (server, __version__, kept)


def test_an_upgrade_that_does_not_serve_is_taken_back(site: Installed, link: VlessLink) -> None:
    """A new version that migrates and then dies gives way to the old one, with the data as they were."""
    tree = site.newer("99.0.2")
    spoil_migrations(tree, 'op.execute("CREATE TABLE newer (id INTEGER)")')
    replace(tree / "src/vpnkeys/cli/commands/serve.py", r"server\.start\(\)", 'raise RuntimeError("broken start")')
    keys, kept = lasting_keys(site), releases(site)
    with site.customer(link) as pings:
        done = site.run("vpnkeys", "upgrade", "/opt/vpnkeys-99.0.2")
        assert done.returncode == 1, done.stderr
        assert "broken start" in done.stderr
        assert f"{__version__} runs again" in done.stderr
        assert pings.broken is None
    assert (server_version(site), revision(site), releases(site)) == (__version__, HEAD, kept)
    assert lasting_keys(site) == keys


def test_a_killed_xray_comes_back(site: Installed, link: VlessLink) -> None:
    """The next Xray is started by systemd, and the customer gets in again."""
    xray = site.guest.main_pid(XRAY)
    with XrayClient(link) as client:
        site.guest.ok("systemctl", "kill", "--signal=KILL", XRAY)
        assert wait_until(lambda: site.guest.main_pid(XRAY) not in {0, xray})
        site.wait_carries(client.socks)


def test_the_timer_counts(site: Installed, link: VlessLink) -> None:
    """Traffic is counted by a service of its own, which the timer starts every five minutes."""
    with XrayClient(link) as client:
        site.wait_carries(client.socks)
        site.guest.ok("systemctl", "start", "vpnkeys-traffic.service")
    assert site.guest.show("vpnkeys-traffic.service", "Result", "ExecMainStatus") == {
        "Result": "success",
        "ExecMainStatus": "0",
    }
    timer = site.guest.show("vpnkeys-traffic.timer", "ActiveState", "UnitFileState", "TimersCalendar")
    assert (timer["ActiveState"], timer["UnitFileState"]) == ("active", "enabled")
    assert " *:00/5:00 ;" in timer["TimersCalendar"]


def test_a_server_that_hangs_is_restarted(site: Installed) -> None:
    """A server that gives no sign of life is replaced, with its Xray left alone."""
    drop_in = site.guest.root / "etc/systemd/system/vpnkeys.service.d/hang.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n")
    site.guest.ok("systemctl", "daemon-reload")
    site.guest.ok("systemctl", "restart", SERVER)
    server, xray = site.guest.main_pid(SERVER), site.guest.main_pid(XRAY)
    site.guest.ok("kill", "-STOP", str(server))
    assert wait_until(lambda: site.guest.main_pid(SERVER) not in {0, server})
    assert wait_until(lambda: server_version(site) == __version__)
    assert site.guest.main_pid(XRAY) == xray
    drop_in.unlink()
    site.guest.ok("systemctl", "daemon-reload")
    site.guest.ok("systemctl", "restart", SERVER)
    site.wait_ready()


def test_an_xray_that_carries_nothing_is_refused(site: Installed, link: VlessLink) -> None:
    """Another Xray is tried before it is used: one that only says its version changes nothing."""
    fake = site.guest.root / "opt/xray-fake"
    fake.write_text('#!/bin/sh\n[ "$1" = version ] && exec /opt/xray-given version\nexec sleep 1000\n')
    fake.chmod(0o755)
    xray = site.guest.main_pid(XRAY)
    with site.customer(link) as pings:
        done = site.run("vpnkeys", "upgrade-xray", "/opt/xray-fake")
        assert (done.returncode, "nothing was changed" in done.stderr) == (1, True), done.stderr
        assert pings.broken is None
    assert site.guest.main_pid(XRAY) == xray


def test_an_xray_of_an_unknown_version_is_refused_unless_forced(site: Installed, link: VlessLink) -> None:
    """One sentence says what was tried. Forced, it is tested like any other, and the services take it at each start."""
    place = site.guest.root / "opt/xray-unknown"
    place.write_text(
        '#!/bin/sh\n[ "$1" = version ] || exec /opt/xray-given "$@"\n'
        "echo 'Xray 99.1.1 (Xray, Penetrates Everything.) Custom (go1.26.8 linux/amd64)'\n"
    )
    place.chmod(0o755)
    before = site.guest.main_pid(XRAY), xrays(site)
    done = site.run("vpnkeys", "upgrade-xray", "/opt/xray-unknown")
    assert (done.returncode, site.guest.main_pid(XRAY), xrays(site)) == (1, *before), done.stderr
    assert f"Xray 99.1.1 was not tried with this version of vpnkeys, only {tried_versions()} were" in done.stderr
    done = site.run("vpnkeys", "upgrade-xray", "--force", "/opt/xray-unknown")
    assert done.returncode == 0, done.stderr
    site.guest.ok("systemctl", "restart", XRAY, SERVER)
    site.wait_ready()
    with XrayClient(link) as client:
        site.wait_carries(client.socks)
    kept = site.guest.ok("readlink", "-f", "/opt/vpnkeys/xray/current").strip()
    assert kept == "/opt/vpnkeys/xray/99.1.1"


def test_an_xray_that_does_not_serve_is_taken_back(site: Installed, link: VlessLink) -> None:
    """One that carries on trial and fails in its place gives way to the old one, and customers get in again."""
    fake = site.guest.root / "opt/xray-trial-only"
    fake.write_text('#!/bin/sh\ncase "$*" in version|*/vpnkeys-trial-*) exec /opt/xray-given "$@";; esac\nexit 23\n')
    fake.chmod(0o755)
    before = site.guest.ok("readlink", "-f", "/opt/vpnkeys/xray/current"), xrays(site)
    done = site.run("vpnkeys", "upgrade-xray", "/opt/xray-trial-only")
    assert done.returncode == 1, done.stderr
    assert "the old one runs again" in done.stderr
    assert (site.guest.ok("readlink", "-f", "/opt/vpnkeys/xray/current"), xrays(site)) == before
    with XrayClient(link) as client:
        site.wait_carries(client.socks)


def test_another_xray_takes_over(site: Installed, link: VlessLink) -> None:
    """An Xray that carries is put in place, and customers get in through it when the command ends.

    The one before is of an unknown version, which needs no force to leave.
    """
    other = site.guest.root / "opt/xray-other"
    other.write_bytes((site.guest.root / "opt/xray-given").read_bytes() + b"another file")
    other.chmod(0o755)
    xray = site.guest.main_pid(XRAY)
    done = site.run("vpnkeys", "upgrade-xray", "/opt/xray-other")
    assert done.returncode == 0, done.stderr
    assert site.guest.main_pid(XRAY) != xray
    running = site.guest.ok("readlink", f"/proc/{site.guest.main_pid(XRAY)}/exe").strip()
    assert running == site.guest.ok("readlink", "-f", "/opt/vpnkeys/xray/current/xray").strip()
    assert (site.guest.root / running[1:]).read_bytes().endswith(b"another file")
    with XrayClient(link) as client:
        site.wait_carries(client.socks)


def test_everything_returns_after_a_reboot(site: Installed, link: VlessLink) -> None:
    """After a boot all services run and the same link carries, with nobody's help."""
    site.reboot()
    site.wait_ready()
    with XrayClient(link) as client:
        site.wait_carries(client.socks)
    assert site.guest.show("vpnkeys-traffic.timer", "ActiveState") == {"ActiveState": "active"}


def test_uninstalling_keeps_the_data(site: Installed, link: VlessLink) -> None:
    """Units, releases, command and kernel tables go; data and user stay.

    An installation that fails leaves nothing of them behind either; one that succeeds finds every key.
    """
    keys = lasting_keys(site)
    done = site.run("/opt/vpnkeys-src/run", "--uninstall")
    assert done.returncode == 0, done.stderr
    assert "/var/lib/vpnkeys" in done.stderr
    assert left_behind(site) == []
    assert "vpnkeys" not in site.guest.ok("nft", "list", "tables")
    assert site.guest.run("pgrep", "--uid", "vpnkeys").stdout == ""
    assert site.guest.ok("id", "-un", "vpnkeys") == "vpnkeys\n"
    fail_to_install(site)
    assert "API key, shown" not in site.install()
    site.wait_ready()
    assert lasting_keys(site) == keys
    with XrayClient(link) as client:
        site.wait_carries(client.socks)
