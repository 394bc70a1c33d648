"""The check of Xray: it runs and answers, has a tested version, and only the server's user can control it."""

import os
import shutil
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE

from vpnkeys.doctor.finding import Verdict, fail, ok, warn
from vpnkeys.doctor.installation import Installation
from vpnkeys.doctor.records import reading, sqlite_file
from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.ops.data_dir import api_socket
from vpnkeys.xray.process.binary import XrayUnfit, default_cache_dir, version_of
from vpnkeys.xray.process.tried import FIRST_UNFIT, OLDEST_FIT, XRAY_VERSION, numbers
from vpnkeys.xray.rpc.control import XrayControl

RESTART_XRAY = "vpnkeys sync --restart"

# Measured: from these versions on, an inbound with an empty minClientVer refuses these clients. Ours set "0.0.0".
SHUT_OUT = (("26.9.8", "sing-box"), ("26.7.11", "mihomo"))

_MANY_CRASHES = 3


@dataclass(frozen=True, slots=True)
class XrayFacts:
    """Facts on Xray. `is_wanted`: a server runs, so Xray should too. When `version` is empty, `problem` says why."""

    is_wanted: bool
    pid: int | None
    answers: bool
    version: str
    problem: str
    socket: Path
    socket_mode: int | None
    crashes_in_a_day: int | None
    restart: str


def look(installation: Installation) -> XrayFacts:
    """Return the facts on the running Xray, or on the program that would be started."""
    path = api_socket(installation.settings)
    version, problem = _version(program_of(installation))
    return XrayFacts(
        is_wanted=installation.server is not None,
        pid=installation.xray_pid,
        answers=installation.xray_pid is not None and _answers(path),
        version=version,
        problem=problem,
        socket=path,
        socket_mode=S_IMODE(path.stat().st_mode) if path.exists() else None,
        crashes_in_a_day=_crashes(installation),
        restart=installation.restart,
    )


def judge(facts: XrayFacts) -> Iterable[Verdict]:
    """Report problems of the process, of its API socket and of its version."""
    if facts.pid is not None and not facts.answers:
        yield fail(f"Xray (pid {facts.pid}) hangs: it does not answer on its API", RESTART_XRAY)
    elif facts.pid is None and facts.is_wanted:
        yield fail("Xray does not run; the server's log says why", facts.restart)
    if facts.crashes_in_a_day is not None and facts.crashes_in_a_day > _MANY_CRASHES:
        yield warn(f"Xray ended by itself {facts.crashes_in_a_day} times in the last day; the server's log says why")
    if facts.socket_mode is not None and facts.socket_mode & 0o077:
        words = f"{facts.socket} has mode {facts.socket_mode:04o}: other users can control Xray through it"
        yield fail(words, f"chmod 0600 {facts.socket}")
    yield from _of_program(facts)


def _of_program(facts: XrayFacts) -> Iterable[Verdict]:
    if facts.problem:
        yield (fail if facts.is_wanted else warn)(facts.problem)
        return
    here = numbers(facts.version)
    if here < numbers(OLDEST_FIT):
        yield fail(f"Xray {facts.version} is too old; vpnkeys needs {OLDEST_FIT} or later: unset VPNKEYS_XRAY_BIN")
    elif here >= numbers(FIRST_UNFIT):
        out = [client for version, client in SHUT_OUT if here >= numbers(version)]
        yield warn(
            f"Xray {facts.version} is newer than the tested versions, and may refuse {' and '.join(out)} where an "
            f"inbound of yours has no minClientVer; without VPNKEYS_XRAY_BIN, {XRAY_VERSION} is used"
        )
    else:
        tested = "the tested version" if facts.version == XRAY_VERSION else "a supported version"
        yield ok(f"Xray {facts.version}, {tested}; mihomo and sing-box can connect")


def program_of(installation: Installation) -> Path | None:
    """Return the Xray that runs, or that would be started; None when the server has to fetch one first."""
    if installation.xray_pid is not None:
        # This link leads to the program that runs, even when its file was replaced or deleted.
        return Path(f"/proc/{installation.xray_pid}/exe")
    found = installation.settings.xray_bin or shutil.which("xray")
    cached = default_cache_dir() / "xray"
    return Path(found) if found else cached if cached.exists() else None


def _version(program: Path | None) -> tuple[str, str]:
    if program is None:
        return "", "there is no Xray here yet; the server fetches one at its next start"
    try:
        return version_of(program), ""
    except XrayUnfit as error:
        return "", str(error)


def _answers(path: Path) -> bool:
    control = XrayControl(path)
    try:
        control.ping()
    except XrayUnavailable:
        return False
    finally:
        control.close()
    return True


def _crashes(installation: Installation) -> int | None:
    """Return how often Xray ended without being stopped by the server in the last day; None where it is unknown."""
    file = sqlite_file(installation)
    if file is None or not os.access(file, os.R_OK):
        return None
    query = "SELECT count(*) FROM epochs WHERE ended_cleanly = 0 AND ended_at > datetime('now', '-1 day')"
    try:
        with reading(file) as connection:
            return int(connection.execute(query).fetchone()[0])
    except sqlite3.Error:
        return None  # the database check reports it
