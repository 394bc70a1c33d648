"""The installation that is checked: its settings, and its server and Xray if they run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vpnkeys.client import ApiError, Client
from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.ops.data_dir import api_socket
from vpnkeys.owner import listener_pid
from vpnkeys.settings import ENVIRONMENT, Settings, admin_socket, data_dirs, load_settings
from vpnkeys.xray.rpc.counters import XrayCounters

_CONNECT_TIMEOUT_S = 2.0
_ANSWER_TIMEOUT_S = 30.0
_FIRST_ANSWER_TIMEOUT_S = 5.0

_UNIT = "vpnkeys.service"
_UNIT_DIRS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")


@dataclass(frozen=True, slots=True)
class Installation:
    """An installation of vpnkeys.

    `server` is None while the server does not answer; `pid` and `xray_pid` are None while that process does not run.
    `is_a_unit` says whether the server is a unit of systemd.
    """

    settings: Settings
    server: Client | None
    pid: int | None
    xray_pid: int | None
    is_a_unit: bool

    @property
    def start(self) -> str:
        """The command that starts the server."""
        return "systemctl start vpnkeys" if self.is_a_unit else "vpnkeys serve"

    @property
    def restart(self) -> str:
        """The command that stops the server, if it runs, and starts it again."""
        if self.is_a_unit or self.pid is None:
            return "systemctl restart vpnkeys" if self.is_a_unit else self.start
        return f"kill {self.pid} && tail --pid={self.pid} -f /dev/null && {self.start}"

    @property
    def data_dir(self) -> Path:
        """The server's data directory."""
        return self.settings.data_dir


@contextmanager
def find_installation(environment: Mapping[str, str] = ENVIRONMENT) -> Iterator[Installation]:
    """Yield the installation on this machine: the one whose server runs, else the first whose data directory exists.

    The settings are those that the running server was started with. Raises SettingsError when they are wrong, and
    PermissionError or NotOurs when the server runs as another user than ours.
    """
    data_dir, pid = _data_dir(environment)
    settings = load_settings(_started_with(pid, environment), data_dir=data_dir)
    server = None if pid is None else _answering(admin_socket(data_dir))
    try:
        yield Installation(settings, server, pid, _xray_pid(settings), _is_a_unit())
    finally:
        if server is not None:
            server.close()


def find_data_dir(environment: Mapping[str, str] = ENVIRONMENT) -> Path:
    """Return the data directory of that installation. Raises PermissionError or NotOurs."""
    return _data_dir(environment)[0]


def _data_dir(environment: Mapping[str, str]) -> tuple[Path, int | None]:
    candidates = data_dirs(environment)
    for data_dir in candidates:
        pid = _listener(admin_socket(data_dir))
        if pid is not None:
            return data_dir, pid
    return next((data_dir for data_dir in candidates if data_dir.is_dir()), candidates[0]), None


def _listener(path: Path) -> int | None:
    """Return the pid of the process that listens on a Unix socket, or None. Raises PermissionError, NotOurs."""
    try:
        return listener_pid(path, _CONNECT_TIMEOUT_S)
    except PermissionError as error:
        msg = f"only the server's user and root can open {path}; run this as one of them"
        raise PermissionError(msg) from error
    except OSError:
        return None


def _started_with(pid: int | None, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process; our own where there is no process, or /proc does not let us read it."""
    with suppress(OSError):
        if pid is not None:
            raw = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
            return dict(line.partition("=")[::2] for line in raw.split("\0") if line)
    return dict(environment)


def _answering(path: Path) -> Client | None:
    """Return a client of the server, or None when the server does not answer."""
    # A short timeout first: a server that hangs must not delay each of the checks.
    with Client.local(path, timeout=_FIRST_ANSWER_TIMEOUT_S) as first, suppress(ApiError):
        first.info()
        return Client.local(path, timeout=_ANSWER_TIMEOUT_S)
    return None


def _is_a_unit() -> bool:
    return any((Path(directory) / _UNIT).exists() for directory in _UNIT_DIRS)


def _xray_pid(settings: Settings) -> int | None:
    counters = XrayCounters(api_socket(settings))
    try:
        return counters.pid()
    except XrayUnavailable:
        return None
    finally:
        counters.close()
