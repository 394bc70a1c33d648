"""The settings: their names, defaults and checks. No other module reads the environment for them."""

import os
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

from dotenv import dotenv_values
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError

from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.reality import Fingerprint, is_server_name, parse_fingerprint
from vpnkeys.rundir import ADMIN_SOCKET, run_dir

ENVIRONMENT: Mapping[str, str] = os.environ
"""What settings are read from. Programs that are started take theirs from `os.environ`, without our secrets."""

PREFIX = "VPNKEYS_"
SYSTEM_DATA_DIR = Path("/var/lib/vpnkeys")

PASSPHRASE = f"{PREFIX}PASSPHRASE"

# Options of other commands. `serve` ignores them: both may run in one environment.
CLI_NAMES = frozenset({f"{PREFIX}URL", f"{PREFIX}FINGERPRINT", f"{PREFIX}CA", PASSPHRASE})

# Sites with TLS 1.3, h2 and their own networks, large enough that many connections to them do not stand out. Not
# www.microsoft.com: its certificate record has 8,273 bytes, and Xray 26.3.27 lets no client in above 8,192.
DEFAULT_SERVER_NAMES = "www.nvidia.com,www.amd.com,www.cisco.com,www.samsung.com,www.asus.com"

DEFAULT_RATE_LIMITS: Mapping[str, str] = MappingProxyType(
    {
        "create": "5/minute",
        "list": "30/minute",
        "get": "60/minute",
        "delete": "10/minute",
        "sync": "3/minute",
        "guess": "10/minute",  # wrong API keys, per address
    }
)
API_KEY_MIN_CHARS = 16
_MAX_PORT = 65535


class SettingsError(Exception):
    """One or more settings are wrong; the message has a line for each."""


class Address(NamedTuple):
    """An IP address and a port."""

    host: str
    port: int


class AllowedNetwork(NamedTuple):
    """A private network that customers may reach; all its ports when `port` is None."""

    cidr: str
    port: int | None


def _address(value: Any) -> Address:  # noqa: ANN401 - raw input
    host, _, port = str(value).rpartition(":")
    host = host.strip("[]")
    if not port.isdecimal() or not 0 < int(port) <= _MAX_PORT or not _is_ip(host):
        msg = "give an IP address and a port, such as 0.0.0.0:8000 or [::]:8000"
        raise ValueError(msg)
    return Address(host, int(port))


def _port_range(value: Any) -> PortRange:  # noqa: ANN401 - raw input
    match = re.fullmatch(r"(\d{1,5})-(\d{1,5})", str(value))
    if match is None or not 0 < int(match[1]) <= int(match[2]) <= _MAX_PORT:
        msg = "give a range of ports, such as 10001-10100"
        raise ValueError(msg)
    return PortRange(int(match[1]), int(match[2]))


def _server_names(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - raw input
    names = tuple(dict.fromkeys(_items(value)))
    wrong = [name for name in names if not is_server_name(name)]
    if wrong or not names:
        msg = f"give lower-case host names, comma separated; not: {', '.join(wrong) or 'nothing'}"
        raise ValueError(msg)
    return names


def _target(value: Any) -> str:  # noqa: ANN401 - raw input
    host, _, port = str(value).rpartition(":")
    if value and not (host and port.isdecimal() and 0 < int(port) <= _MAX_PORT):
        msg = "give host:port, such as www.example.com:443, or nothing"
        raise ValueError(msg)
    return str(value)


def _egress(value: Any) -> tuple[AllowedNetwork, ...]:  # noqa: ANN401 - raw input
    return tuple(_one_egress(item) for item in _items(value))


def _one_egress(item: str) -> AllowedNetwork:
    match = re.fullmatch(
        r"(?P<cidr>\[?[0-9a-fA-F.:]+?\]?/\d+|\[?[0-9a-fA-F.]+\]?|\[[0-9a-fA-F.:]+\])(?::(?P<port>\d+))?", item
    )
    try:
        cidr = str(ip_network(match["cidr"].replace("[", "").replace("]", ""))) if match else ""
        port = int(match["port"]) if match and match["port"] else None
    except ValueError:
        cidr, port = "", None
    if not cidr or (port is not None and not 0 < port <= _MAX_PORT):
        msg = f"give cidr or cidr:port, comma separated, such as 127.0.0.1/32:8080 or fd00::/8; not: {item}"
        raise ValueError(msg)
    return AllowedNetwork(cidr, port)


def _inbound_listen(value: Any) -> str:  # noqa: ANN401 - raw input
    if not _is_ip(str(value)):
        msg = "give an IP address, such as 0.0.0.0 or ::"
        raise ValueError(msg)
    return str(ip_address(str(value)))


def _server_address(value: Any) -> str:  # noqa: ANN401 - raw input
    host = str(value).strip("[]")
    if not _is_ip(host) and re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", host) is None:
        msg = "give the address or name by which customers reach this server"
        raise ValueError(msg)
    return host


def _rate_limits(value: Any) -> Mapping[str, str]:  # noqa: ANN401 - raw input
    """Return limits by name. Missing ones keep their defaults; `name=0` removes one, `off` all."""
    if value == "off":
        return {}
    given = dict(item.partition("=")[::2] for item in _items(value))
    wrong = [
        name
        for name, limit in given.items()
        if name not in DEFAULT_RATE_LIMITS or re.fullmatch(r"0|[1-9]\d{0,6}/(second|minute|hour|day)", limit) is None
    ]
    if wrong:
        names = ", ".join(DEFAULT_RATE_LIMITS)
        msg = f"give name=number/minute (or second, hour, day; 0 is off), comma separated, of {names}; not: {wrong[0]}"
        raise ValueError(msg)
    return {name: limit for name, limit in {**DEFAULT_RATE_LIMITS, **given}.items() if limit != "0"}


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _items(value: Any) -> list[str]:  # noqa: ANN401 - raw input
    return [item.strip() for item in str(value).split(",") if item.strip()]


class Settings(BaseModel):
    """All settings, checked. `database_url` and `server_address` have their defaults where they were not given."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    data_dir: Path
    listen: Annotated[Address, BeforeValidator(_address)] = Address("0.0.0.0", 8000)  # noqa: S104 - the contract's default
    api_key: Annotated[SecretStr, Field(min_length=API_KEY_MIN_CHARS)] | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    server_address: Annotated[str, BeforeValidator(_server_address)]
    port_range: Annotated[PortRange, BeforeValidator(_port_range)] = PortRange(10001, 10100)
    inbound_listen: Annotated[str, BeforeValidator(_inbound_listen)] = "0.0.0.0"  # noqa: S104 - the contract's default
    reality_server_names: Annotated[tuple[str, ...], BeforeValidator(_server_names)]
    reality_target: Annotated[str, BeforeValidator(_target)] = ""
    utls_fingerprint: Annotated[Fingerprint, BeforeValidator(parse_fingerprint)] = Fingerprint.CHROME
    egress_allow: Annotated[tuple[AllowedNetwork, ...], BeforeValidator(_egress)] = ()
    xray_bin: Path | None = None
    xray_ca_file: Path | None = None
    xray_supervisor: Literal["vpnkeys", "systemd"] = "vpnkeys"
    sync_restarts: Literal["always", "needed"] = "always"
    database_url: str
    traffic_interval_s: Annotated[float, Field(ge=0)] = 10
    rate_limits: Annotated[Mapping[str, str], BeforeValidator(_rate_limits)] = Field(
        default_factory=lambda: dict(DEFAULT_RATE_LIMITS)
    )
    log_format: Literal["human", "json"] = "human"
    log_file: Path | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    _guessed: frozenset[str] = PrivateAttr(default=frozenset())

    def model_post_init(self, context: Any) -> None:  # noqa: ANN401 - pydantic's own
        """Note which values nobody gave, the context of the validation."""
        self._guessed = context or frozenset()

    @property
    def guesses_address(self) -> bool:
        """Whether `server_address` is this host's own guess."""
        return "server_address" in self._guessed

    @property
    def panel_port(self) -> int | None:
        """The API's port; None when the API listens on loopback only."""
        return None if ip_address(self.listen.host).is_loopback else self.listen.port


def load_settings(
    environment: Mapping[str, str] = ENVIRONMENT, *, data_dir: Path | None = None, is_root_install: bool = False
) -> Settings:
    """Return the settings from the environment, else from `<data dir>/vpnkeys.env`; `data_dir` overrides its setting.

    Raises SettingsError, which names every wrong setting.
    """
    default_dir = SYSTEM_DATA_DIR if is_root_install else Path("data")
    data_dir = (data_dir or Path(environment.get(f"{PREFIX}DATA_DIR") or default_dir)).absolute()
    given = {**_env_file(data_dir / "vpnkeys.env"), **_ours(environment)}
    known = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
    unknown = sorted(given.keys() - known)
    values = {
        name.removeprefix(PREFIX).lower(): value for name, value in given.items() if value and name not in unknown
    }
    defaults = {
        "server_address": default_address(),
        "reality_server_names": DEFAULT_SERVER_NAMES,
        "database_url": f"sqlite:///{data_dir / 'vpnkeys.db'}",
    }
    faults = [f"{name}: there is no such setting" for name in unknown]
    if ("tls_cert" in values) != ("tls_key" in values):
        faults.append(f"{PREFIX}TLS_CERT and {PREFIX}TLS_KEY: give both or neither")
    guessed = frozenset(defaults.keys() - values.keys())
    settings, more = _validated({**defaults, **values, "data_dir": data_dir}, guessed)
    if settings is None or faults:
        raise SettingsError("\n".join([*faults, *more]))
    return settings


def data_dirs(environment: Mapping[str, str] = ENVIRONMENT) -> tuple[Path, ...]:
    """Return the directories where a server of this machine may have its data: the set one, else the defaults."""
    given = environment.get(f"{PREFIX}DATA_DIR")
    return (Path(given).absolute(),) if given else (Path("data").absolute(), SYSTEM_DATA_DIR)


def admin_socket(data_dir: Path) -> Path:
    """Return the Unix socket of the server with this data directory. Its file mode replaces the API key."""
    return run_dir(data_dir) / ADMIN_SOCKET


def backup_passphrase(environment: Mapping[str, str] = ENVIRONMENT) -> str | None:
    """Return the passphrase of backups, if one is set."""
    return environment.get(PASSPHRASE) or None


def journal_stream(environment: Mapping[str, str] = ENVIRONMENT) -> str | None:
    """Return `device:inode` of the stream that systemd connected to the journal (systemd.exec(5)), or None."""
    return environment.get("JOURNAL_STREAM")


def _validated(values: Mapping[str, object], guessed: frozenset[str]) -> tuple[Settings | None, list[str]]:
    """Return the settings, or None and one line for each wrong setting."""
    try:
        return Settings.model_validate(values, context=guessed), []
    except ValidationError as error:
        return None, [
            f"{PREFIX}{str(fault['loc'][0]).upper()}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        ]


def default_address() -> str:
    """Return the address that this host uses to reach the internet; 127.0.0.1 without a default route.

    Connecting a UDP socket makes the kernel choose the source address without sending anything.
    """
    # Addresses reserved for documentation (RFC 5737, RFC 3849): they have the default route, and no host has them.
    for family, somewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        # A host without this protocol raises OSError too.
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((somewhere, 9))
            return str(probe.getsockname()[0])
    return "127.0.0.1"


def _ours(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(PREFIX) and name not in CLI_NAMES}


def _env_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    # No interpolation: a `$` in a password is only a `$`.
    return {name: value or "" for name, value in dotenv_values(path, interpolate=False).items()}
