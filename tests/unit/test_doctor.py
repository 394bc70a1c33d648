"""The doctor's judges: facts in, findings out; each trouble is told, with a command that exists."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest

from vpnkeys.cli.main import _COMMANDS
from vpnkeys.client import EgressTest, KeyTest, Node
from vpnkeys.doctor.checks import (
    backups,
    certificate,
    clock,
    database,
    descriptors,
    disk,
    drift,
    firewall,
    health,
    kernel,
    nodes,
    permissions,
    ports,
    selftest,
    targets,
    xray,
)
from vpnkeys.doctor.checks.packets import Chain, Fate
from vpnkeys.doctor.finding import Finding, Level, Verdict, worst
from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.target import TargetReport
from vpnkeys.store.sql.migrate import HEAD
from vpnkeys.wire.health import Health, HealthProblem
from vpnkeys.xray.host.listeners import Listener

NOW = datetime(2026, 1, 2, tzinfo=UTC)
DAY = timedelta(days=1)
XRAY, SERVER, STRANGER = Listener(7, "xray"), Listener(6, "vpnkeys"), Listener(8, "nginx")
RESTART = "systemctl restart vpnkeys"

CERTIFICATE = certificate.CertificateFacts(
    Path("/d/tls/cert.pem"), Path("/d/tls/key.pem"), True, "203.0.113.7", RESTART, NOW, "", True, NOW - DAY,
    NOW + 90 * DAY, True,
)  # fmt: skip
PORTS = ports.PortFacts(
    8000, 6, (10001, 10002), 7, PortRange(10001, 10100), "203.0.113.7",
    {8000: frozenset({SERVER}), 10001: frozenset({XRAY}), 10002: frozenset({XRAY})}, RESTART,
)  # fmt: skip
DISK = disk.DiskFacts("/d", 10**10, 10**6, 10**6)
XRAY_FACTS = xray.XrayFacts(True, 7, True, "26.3.27", "", Path("/d/run/api.sock"), 0o600, 0, RESTART)
DATABASE = database.DatabaseFacts(Path("/d/vpnkeys.db"), RESTART, True, (), HEAD, True, Path("/d/backups/b.backup"))
BACKUPS = backups.BackupFacts(True, Path("/d/backups/b.backup"), 3600, Path("/d/backups/new.backup"))
TESTED = KeyTest(
    key_id="k", works=True, code="ok", detail="fine", first_byte_ms=4.0, bytes_received=97, counted=True,
    egress=EgressTest(works=True, detail="fine"),
)  # fmt: skip
INPUT = Chain("inet", "filter", "input")
SECRET = permissions.Secret(Path("/d/reality.json"), 0o600, 0)
FIT = TargetReport("a.example", "a.example:443")

NODE = {
    "id": 2, "name": "far", "group": "default", "address": "far.example", "state": "up", "port_range": "20001-20003",
    "weight": 1, "keys": 1, "seen_at": "2026-01-01T23:59:58.000000", "applied": 7, "desired": 7, "lag_s": 0.0,
    "version": "1.4.2", "xray_version": "26", "names_ready": 2, "public_key": "p", "places": 3, "clock_ahead_s": 0.1,
}  # fmt: skip
"""A node as the server sends it."""


def node_of(**fields: object) -> Node:
    """The node, but for these, as the client reads it."""
    return Node.model_validate_json(json.dumps(NODE | fields))


LOCAL = node_of(id=1, name="local", version="1.4.0")


def of_node(**fields: object) -> Iterable[Verdict]:
    """What is told of a node that is so."""
    return nodes.judge(nodes.NodesFacts((LOCAL, node_of(**fields)), NOW, "1.4.0"))


WELL = Health(status="healthy", services={})


def ill(status: str, code: str) -> Health:
    """What a server with one problem says."""
    return Health(status=status, problems=(HealthProblem(code=code, since=1, detail="Words."),))


OK: list[tuple[str, Iterable[Verdict]]] = [
    ("clock", clock.judge(clock.ClockFacts(True, 0.4))),
    ("clock offline", clock.judge(clock.ClockFacts(True, None))),
    ("ports", ports.judge(PORTS)),
    ("ports, stopped", ports.judge(replace(PORTS, server_pid=None, xray_pid=None, listening={}))),
    ("firewall", firewall.judge(firewall.FirewallFacts("nft", (firewall.PortFate(8000, Fate.PASSES, None),)))),
    ("firewall, loopback", firewall.judge(firewall.FirewallFacts("nft"))),
    ("certificate", certificate.judge(CERTIFICATE)),
    ("disk", disk.judge(DISK)),
    ("disk without inodes", disk.judge(replace(DISK, inodes=None))),
    ("permissions", permissions.judge(permissions.PermissionFacts((SECRET,), 0))),
    ("descriptors", descriptors.judge((descriptors.Descriptors("Xray", 7, 65536, 30),))),
    ("xray", xray.judge(XRAY_FACTS)),
    ("targets", targets.judge(targets.TargetFacts((FIT,), 1))),
    ("targets, stopped", targets.judge(targets.TargetFacts((FIT,), None))),
    ("database", database.judge(DATABASE)),
    ("database of another kind", database.judge(replace(DATABASE, file=None))),
    ("health", health.judge(WELL)),
    ("drift", drift.judge(drift.DriftFacts(2, True, True))),
    ("drift, Xray silent", drift.judge(drift.DriftFacts(2, True, None))),
    ("nodes", of_node()),
    ("no node elsewhere", nodes.judge(nodes.NodesFacts((LOCAL,), NOW, "1.4.0"))),
    ("a node that was given up", of_node(state="lost", version="", seen_at=None)),
    ("a node of the next minor version", of_node(version="1.5.0")),
    ("a node that is behind for a moment", of_node(applied=6, lag_s=3.0)),
    ("backups", backups.judge(BACKUPS)),
    ("kernel", kernel.judge(kernel.KernelFacts(True, True, True))),
    ("self-test", selftest.judge(selftest.SelfTestFacts(TESTED))),
]


def _held(port: int, *who: Listener) -> ports.PortFacts:
    return replace(PORTS, listening={**PORTS.listening, port: frozenset(who)})


def _fates(fate: Fate, *numbers: int) -> tuple[firewall.PortFate, ...]:
    return tuple(firewall.PortFate(number, fate, INPUT) for number in numbers)


TROUBLES: list[tuple[Iterable[Verdict], Level, str, str]] = [
    (health.judge(ill("degraded", "disk_low")), Level.WARN, "disk_low: Words. What to do: free some space", ""),
    (health.judge(ill("unhealthy", "database_unreadable")), Level.FAIL, "restore a backup", ""),
    (health.judge(ill("degraded", "of_a_newer_server")), Level.WARN, "see the server's log", ""),
    (of_node(state="silent"), Level.FAIL, "far is silent, last heard of 2 s ago", ""),
    (of_node(state="silent", seen_at=None), Level.FAIL, "last heard of never", ""),
    (of_node(state="joining", version=""), Level.WARN, "far has not joined", "vpnkeys nodes rm far"),
    (of_node(applied=6, lag_s=42.0), Level.WARN, "has not had its present keys for 42 s", ""),
    (
        of_node(failed={"k": "port_taken"}),
        Level.FAIL,
        "1 key(s) are not on far as they should be: k (port_taken)",
        "vpnkeys nodes show far",
    ),
    (of_node(names_ready=0), Level.FAIL, "no server name works on far", ""),
    (of_node(clock_ahead_s=9.0), Level.WARN, "the clock of far is 9 s ahead", ""),
    (of_node(clock_ahead_s=-3600.0), Level.FAIL, "3600 s behind", ""),
    (
        of_node(version="1.2.9"),
        Level.WARN,
        "far runs vpnkeys 1.2.9, more than one minor version from 1.4.0 here: upgrade far",
        "",
    ),
    (of_node(version="2.0.0"), Level.WARN, "upgrade this server", ""),
    (clock.judge(clock.ClockFacts(False, None)), Level.WARN, "not synchronised", "timedatectl set-ntp true"),
    (clock.judge(clock.ClockFacts(True, 9.0)), Level.WARN, "9 s ahead", "timedatectl set-ntp true"),
    (clock.judge(clock.ClockFacts(True, -3600.0)), Level.FAIL, "3600 s behind", "timedatectl set-ntp true"),
    (ports.judge(_held(8000)), Level.FAIL, "nothing listens on the API's port, 8000", RESTART),
    (ports.judge(_held(10001)), Level.FAIL, "nothing listens on a key's port, 10001", "vpnkeys sync"),
    (ports.judge(_held(10002, STRANGER)), Level.FAIL, "10002, is taken by nginx (pid 8)", "kill 8"),
    (ports.judge(replace(_held(10002, STRANGER), xray_pid=None)), Level.FAIL, "taken by nginx", "kill 8"),
    (ports.judge(_held(10001, Listener(0, "?"))), Level.FAIL, "taken by ?", "ss -ltnp sport = :10001"),
    (ports.judge(replace(PORTS, pool=PortRange(10002, 10003))), Level.WARN, "outside", ""),
    (
        firewall.judge(firewall.FirewallFacts("nft", _fates(Fate.DROPPED, 8000, 10001, 10002))),
        Level.FAIL,
        "TCP 10001-10002",
        "nft insert rule inet filter input tcp dport 10001-10002 accept",
    ),
    (
        firewall.judge(firewall.FirewallFacts("ufw", _fates(Fate.PERHAPS, 10001, 10002))),
        Level.WARN,
        "may drop connections to TCP 10001-10002",
        "ufw allow 10001:10002/tcp",
    ),
    (firewall.judge(firewall.FirewallFacts("nft", (), "no nft")), Level.WARN, "cannot be read (no nft)", ""),
    (certificate.judge(replace(CERTIFICATE, problem="no PEM")), Level.FAIL, "no PEM", "rm -f "),
    (certificate.judge(replace(CERTIFICATE, fits_key=False)), Level.FAIL, "not the key", "rm -f "),
    (certificate.judge(replace(CERTIFICATE, not_after=NOW)), Level.FAIL, "expired on 2026-01-02", RESTART),
    (certificate.judge(replace(CERTIFICATE, not_before=NOW + DAY)), Level.FAIL, "not valid before", RESTART),
    (
        certificate.judge(replace(CERTIFICATE, not_before=NOW - 77 * DAY, not_after=NOW + 13 * DAY)),
        Level.WARN,
        "expires on",
        RESTART,
    ),
    (
        certificate.judge(replace(CERTIFICATE, not_before=NOW - 5 * DAY, not_after=NOW + DAY)),
        Level.WARN,
        "expires",
        RESTART,
    ),
    (certificate.judge(replace(CERTIFICATE, is_awaited=True)), Level.WARN, "no authority has issued", RESTART),
    (
        certificate.judge(replace(CERTIFICATE, is_ours=False, covers_address=False)),
        Level.WARN,
        "not for 203.0.113.7",
        "certbot renew",
    ),
    (disk.judge(replace(DISK, free_bytes=10**8)), Level.WARN, "95 MiB are left", ""),
    (disk.judge(replace(DISK, free_bytes=10**6)), Level.FAIL, "0 MiB are left", ""),
    (disk.judge(replace(DISK, inodes=1000)), Level.WARN, "1000 more files", ""),
    (disk.judge(replace(DISK, inodes=3)), Level.FAIL, "3 more files", ""),
    (
        permissions.judge(permissions.PermissionFacts((replace(SECRET, mode=0o644),), 0)),
        Level.FAIL,
        "/d/reality.json (0644)",
        "chmod go-rwx /d/reality.json",
    ),
    (
        permissions.judge(permissions.PermissionFacts((replace(SECRET, uid=9),), 0)),
        Level.FAIL,
        "uid 0",
        "chown 0 /d/reality.json",
    ),
    (
        descriptors.judge((descriptors.Descriptors("Xray", 7, 1024, 30),)),
        Level.WARN,
        "may have 1024",
        "prlimit --pid 7 ",
    ),
    (descriptors.judge((descriptors.Descriptors("Xray", 7, 65536, 60000),)), Level.FAIL, "soon", "prlimit --pid 7 "),
    (xray.judge(replace(XRAY_FACTS, pid=None, answers=False)), Level.FAIL, "does not run", RESTART),
    (xray.judge(replace(XRAY_FACTS, answers=False)), Level.FAIL, "hangs", "vpnkeys sync --restart"),
    (xray.judge(replace(XRAY_FACTS, version="25.1.1")), Level.FAIL, "too old", ""),
    (xray.judge(replace(XRAY_FACTS, version="26.7.11")), Level.WARN, "refuse mihomo where", ""),
    (xray.judge(replace(XRAY_FACTS, version="26.10.1")), Level.WARN, "refuse sing-box and mihomo", ""),
    (xray.judge(replace(XRAY_FACTS, version="", problem="no version")), Level.FAIL, "no version", ""),
    (xray.judge(replace(XRAY_FACTS, socket_mode=0o666)), Level.FAIL, "mode 0666", "chmod 0600 /d/run/api.sock"),
    (xray.judge(replace(XRAY_FACTS, crashes_in_a_day=4)), Level.WARN, "4 times", ""),
    (
        targets.judge(targets.TargetFacts((FIT, replace(FIT, problems=("gone",))), 1)),
        Level.FAIL,
        "a.example: gone",
        "",
    ),
    (targets.judge(targets.TargetFacts((replace(FIT, warnings=("old",)),), 1)), Level.WARN, "a.example: old", ""),
    (targets.judge(targets.TargetFacts((FIT, FIT), 1)), Level.WARN, "with 1 of the names", ""),
    (
        targets.judge(targets.TargetFacts((FIT,), 1, {"b.example": 2})),
        Level.FAIL,
        "nobody gets in with 2 active key(s) of b.example",
        "vpnkeys keys rotate KEY --sni",
    ),
    (database.judge(replace(DATABASE, damages=("page 3",))), Level.FAIL, "page 3", "vpnkeys restore "),
    (database.judge(replace(DATABASE, damages=("page 3",), backup=None)), Level.FAIL, "no backup", ""),
    (
        database.judge(replace(DATABASE, unread="database is locked")),
        Level.FAIL,
        "not be checked: database is locked",
        "",
    ),
    (database.judge(replace(DATABASE, is_there=False)), Level.FAIL, "there is no", RESTART),
    (database.judge(replace(DATABASE, is_complete=False)), Level.WARN, "not checked to its end", ""),
    (database.judge(replace(DATABASE, revision="0001")), Level.WARN, "at version 0001", RESTART),
    (drift.judge(drift.DriftFacts(2, False, True)), Level.FAIL, "config.json is not", "vpnkeys sync"),
    (drift.judge(drift.DriftFacts(2, True, False)), Level.FAIL, "Xray does not run what", "vpnkeys sync"),
    (backups.judge(replace(BACKUPS, newest=None)), Level.WARN, "no backup", "vpnkeys backup /d/backups/new.backup"),
    (backups.judge(replace(BACKUPS, age_s=3 * 86400.0)), Level.WARN, "3 days old", "vpnkeys backup "),
    (kernel.judge(kernel.KernelFacts(False, True, True)), Level.WARN, "cannot be ended", ""),
    (kernel.judge(kernel.KernelFacts(True, False, False)), Level.WARN, "one peer", "apt-get install -y nftables"),
    (kernel.judge(kernel.KernelFacts(True, False, True)), Level.WARN, "CAP_NET_ADMIN", ""),
    (selftest.judge(selftest.SelfTestFacts(None, "no ports")), Level.FAIL, "no ports", ""),
    (
        selftest.judge(selftest.SelfTestFacts(TESTED.model_copy(update={"works": False, "detail": "shut"}))),
        Level.FAIL,
        "shut",
        "vpnkeys sync --restart",
    ),
    (
        selftest.judge(selftest.SelfTestFacts(TESTED.model_copy(update={"counted": False, "detail": "uncounted"}))),
        Level.FAIL,
        "uncounted",
        "vpnkeys sync",
    ),
]

# Judges are generators, and what they say is asked for more than once.
ALL_TROUBLES = [(tuple(verdicts), level, words, mend) for verdicts, level, words, mend in TROUBLES]


@pytest.mark.parametrize("verdicts", [verdicts for _, verdicts in OK], ids=[name for name, _ in OK])
def test_what_is_right_is_said_to_be(verdicts: Iterable[Verdict]) -> None:
    """A healthy server has one finding a check, and nothing to mend."""
    ((level, message, mend),) = verdicts
    assert level is Level.OK
    assert message
    assert not mend


@pytest.mark.parametrize(("verdicts", "level", "words", "mend"), ALL_TROUBLES, ids=range(len(TROUBLES)))
def test_each_trouble_is_told(verdicts: tuple[Verdict, ...], level: Level, words: str, mend: str) -> None:
    """By its level, in words that name what it is about, with the command that mends it where one can."""
    told = [verdict for verdict in verdicts if words in verdict.message]
    assert told, verdicts
    assert told[0].level is level
    assert told[0].mend.startswith(mend)
    assert bool(mend) == bool(told[0].mend)


_OF_OTHER_PACKAGES = {"ufw", "certbot", "nft", "systemctl", "timedatectl", "prlimit", "ss", "apt-get"}


def test_every_mend_is_a_command_that_exists() -> None:
    """Ours by its name; others by theirs, as far as they are on this machine or belong to a package that says so."""
    mends = [verdict.mend for verdicts, *_ in ALL_TROUBLES for verdict in verdicts if verdict.mend]
    assert len(mends) > len(ALL_TROUBLES) / 2
    for mend in mends:
        words = shlex.split(mend)
        if words[0] == "vpnkeys":
            assert words[1] in _COMMANDS
        else:
            assert words[0] in _OF_OTHER_PACKAGES or shutil.which(words[0]), mend


def test_the_worst_decides() -> None:
    """Nothing found is well; a failure outweighs any number of warnings."""
    found = [Finding("a", Level.OK, "m"), Finding("b", Level.WARN, "m"), Finding("c", Level.FAIL, "m")]
    assert worst([]) is Level.OK
    assert worst(found[:2]) is Level.WARN
    assert worst(found) is Level.FAIL


def test_a_silent_node_is_told_as_the_client_reads_it() -> None:
    """The moment at which it was heard of, as the client gives it, and the doctor's own are told apart in seconds."""
    server = Mock()
    server.nodes.list.return_value = [LOCAL, node_of(state="silent")]
    verdict, *_ = nodes.judge(nodes.look(server))
    assert "far is silent, last heard of " in verdict.message
