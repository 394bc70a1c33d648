"""`vpnkeys version --check`: what runs on this host, what it was made of, and which Xray it uses."""

from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from vpnkeys import __version__
from vpnkeys.cli.failures import wrong_usage
from vpnkeys.cli.output.plain import plain, plain_json
from vpnkeys.client import ApiError
from vpnkeys.doctor import find_data_dir, find_installation
from vpnkeys.doctor.checks.xray import program_of
from vpnkeys.doctor.installation import Installation
from vpnkeys.install.built import Built, built_from
from vpnkeys.owner import NotOurs, leave_root
from vpnkeys.settings import SettingsError
from vpnkeys.xray.process.binary import XrayUnfit, version_of
from vpnkeys.xray.process.tried import is_tried, tried_versions

_DIFFERENT, _NOT_RUNNING = 1, 3
_SHORT = 12


@dataclass(frozen=True, slots=True)
class Server:
    """The server of this host. The version is that of its answer, None without one; the pid is None when none runs."""

    data_dir: str
    pid: int | None
    version: str | None
    restart: str


@dataclass(frozen=True, slots=True)
class Xray:
    """The Xray that runs, or that would be started. The version is None where `problem` says why."""

    path: str | None
    version: str | None
    is_running: bool
    is_tried: bool
    problem: str


def check_version(*, as_json: bool) -> None:
    """Print versions and origins, and end the command with the exit code of what was found."""
    try:
        leave_root(find_data_dir())
        with find_installation() as installation:
            server, xray = _server(installation), _xray(installation)
    except (SettingsError, NotOurs, PermissionError) as error:
        wrong_usage(str(error))
    built = built_from()
    if as_json:
        print(plain_json(_document(built, server, xray)))
    else:
        for line in (_of_copy(built), _of_server(server), _of_xray(xray)):
            print(plain(line))
    if server.version is None:
        raise typer.Exit(_NOT_RUNNING)
    if server.version != __version__ or not xray.is_tried:
        raise typer.Exit(_DIFFERENT)


def _server(installation: Installation) -> Server:
    version = None
    if installation.server is not None:
        try:
            version = installation.server.info().service_version
        except ApiError:
            version = None  # it has just begun to hang, or has ended
    return Server(str(installation.data_dir), installation.pid, version, installation.restart)


def _xray(installation: Installation) -> Xray:
    program, is_running = program_of(installation), installation.xray_pid is not None
    if program is None:
        return Xray(None, None, is_running, False, "there is none here yet; the server fetches one at its next start")
    try:
        version = version_of(program)
    except XrayUnfit as error:
        return Xray(_shown(program), None, is_running, False, str(error))
    return Xray(_shown(program), version, is_running, is_tried(version), "")


def _shown(program: Path) -> str:
    """Return the path of a program's file; for one in /proc, of the file that the process was started from."""
    try:
        return str(program.readlink()) if program.parts[:2] == ("/", "proc") else str(program)
    except OSError:
        return str(program)


def _document(built: Built, server: Server, xray: Xray) -> dict[str, object]:
    return {
        "installed": {"version": __version__, "kind": built.kind, "path": str(built.place), **asdict(built.origin)},
        "server": {"data_dir": server.data_dir, "pid": server.pid, "version": server.version},
        "xray": asdict(xray),
    }


def _of_copy(built: Built) -> str:
    origin = built.origin
    kind = {"checkout": "a source tree", "release": f"the release {built.place.name}", "package": "a package"}
    made = f", made from {origin.source}" if origin.source not in {"", str(built.place)} else ""
    at = f", at git revision {origin.revision[:_SHORT]}" if origin.revision else ", of an unknown git revision"
    changed = ", with changes that are not committed" if origin.is_changed else ""
    return f"Installed here: vpnkeys {__version__}, {kind[built.kind]} in {built.place}{made}{at}{changed}."


def _of_server(server: Server) -> str:
    if server.pid is None:
        return f"No server runs on {server.data_dir}."
    if server.version is None:
        return f"The server on {server.data_dir} (process {server.pid}) does not answer: {server.restart}"
    running = f"Running: vpnkeys {server.version} on {server.data_dir}."
    if server.version == __version__:
        return running
    return f"{running} It is not the version that is installed here, until it is started again: {server.restart}"


def _of_xray(xray: Xray) -> str:
    if xray.version is None:
        return f"Xray: {xray.problem}"
    place = f"Xray: {xray.version}, {xray.path}, {'running' if xray.is_running else 'not running'}."
    if xray.is_tried:
        return f"{place} This version was tried with vpnkeys {__version__}."
    return f"{place} This version was not tried with vpnkeys {__version__}; tried were {tried_versions()}."
