"""The settings: their names, defaults and checks. No other module reads the environment for them."""

import os
import re
from collections.abc import Mapping
from enum import Enum, auto
from io import StringIO
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import quote

from dotenv import dotenv_values
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError

from vpnkeys.default_address import default_address
from vpnkeys.domain.networks import parse_origins
from vpnkeys.domain.operator import parse_announcement, parse_operator_name, parse_support_url
from vpnkeys.domain.portpool import MAX_PORT, PortRange, parse_range
from vpnkeys.domain.reached import (
    Address,
    Network,
    base_url,
    parse_address,
    parse_domain,
    parse_host,
    parse_ip,
    parse_networks,
    parse_public_url,
)
from vpnkeys.domain.reality import Fingerprint, is_server_name, parse_fingerprint
from vpnkeys.domain.target import parse_target
from vpnkeys.domain.token import parse_api_key
from vpnkeys.owner import NotOurs, read_ours, require_ours
from vpnkeys.rundir import ADMIN_SOCKET, run_dir

ENVIRONMENT: Mapping[str, str] = os.environ
"""What settings are read from. Programs that are started take theirs from `os.environ`, without our secrets."""

PREFIX = "VPNKEYS_"
SYSTEM_DATA_DIR = Path("/var/lib/vpnkeys")
ENV_FILE = "vpnkeys.env"

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
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


class SettingsError(Exception):
    """One or more settings are wrong; the message has a line for each."""


class NamedFile(Enum):
    """Marks a setting that names a file which has to be there at the start."""

    READ = auto()
    TRUSTED = auto()
    """Certificates to trust."""


class AllowedNetwork(NamedTuple):
    """A private network that customers may reach; all its ports when `port` is None."""

    cidr: str
    port: int | None


def _server_names(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - raw input
    names = tuple(dict.fromkeys(_items(value)))
    wrong = [name for name in names if not is_server_name(name)]
    if wrong or not names:
        msg = f"give lower-case host names, comma separated; not: {', '.join(wrong) or 'nothing'}"
        raise ValueError(msg)
    return names


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
    if not cidr or (port is not None and not 0 < port <= MAX_PORT):
        msg = f"give cidr or cidr:port, comma separated, such as 127.0.0.1/32:8080 or fd00::/8; not: {item}"
        raise ValueError(msg)
    return AllowedNetwork(cidr, port)


def _database_url(value: Any) -> str:  # noqa: ANN401 - raw input
    # Here, as many commands load no settings, and SQLAlchemy takes a tenth of a second.
    from vpnkeys.store.url import parse_database_url  # noqa: PLC0415

    return parse_database_url(value)


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


def _items(value: Any) -> list[str]:  # noqa: ANN401 - raw input
    return [item.strip() for item in str(value).split(",") if item.strip()]


class Settings(BaseModel):
    """All settings, checked. `database_url` and `server_address` have their defaults where they were not given."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    data_dir: Path
    listen: Annotated[Address, BeforeValidator(parse_address)] = Address("::", 8000)
    """With `::`, IPv4 too, on a host that has both."""
    public_url: Annotated[str, BeforeValidator(parse_public_url)] = ""
    trusted_proxies: Annotated[tuple[Network, ...], BeforeValidator(parse_networks)] = ()
    api_key: Annotated[SecretStr, BeforeValidator(parse_api_key)] | None = None
    tls_cert: Annotated[Path | None, NamedFile.READ] = None
    tls_key: Annotated[Path | None, NamedFile.READ] = None
    domain: Annotated[str, BeforeValidator(parse_domain)] = ""
    acme_directory: Annotated[str, Field(pattern="^https://")] = LETS_ENCRYPT
    acme_ca_file: Annotated[Path | None, NamedFile.TRUSTED] = None
    server_address: Annotated[str, BeforeValidator(parse_host)]
    port_range: Annotated[PortRange, BeforeValidator(parse_range)] = PortRange(10001, 10100)
    inbound_listen: Annotated[str, BeforeValidator(parse_ip)] = "0.0.0.0"  # noqa: S104 - the contract's default
    reality_server_names: Annotated[tuple[str, ...], BeforeValidator(_server_names)]
    reality_target: Annotated[str, BeforeValidator(parse_target)] = ""
    utls_fingerprint: Annotated[Fingerprint, BeforeValidator(parse_fingerprint)] = Fingerprint.CHROME
    egress_allow: Annotated[tuple[AllowedNetwork, ...], BeforeValidator(_egress)] = ()
    xray_bin: Path | None = None
    xray_ca_file: Annotated[Path | None, NamedFile.TRUSTED] = None
    xray_supervisor: Literal["vpnkeys", "systemd"] = "vpnkeys"
    sync_restarts: Literal["always", "needed"] = "always"
    cors_origins: Annotated[tuple[str, ...], BeforeValidator(parse_origins)] = ()
    database_url: Annotated[str, BeforeValidator(_database_url)]
    traffic_interval_s: Annotated[float, Field(ge=0)] = 10
    rate_limits: Annotated[Mapping[str, str], BeforeValidator(_rate_limits)] = Field(
        default_factory=lambda: dict(DEFAULT_RATE_LIMITS)
    )
    operator_name: Annotated[str, BeforeValidator(parse_operator_name)] = ""
    support_url: Annotated[str, BeforeValidator(parse_support_url)] = ""
    announcement: Annotated[str, BeforeValidator(parse_announcement)] = ""
    connections_per_source: Annotated[int, Field(ge=0, le=1_000_000)] = 2048
    connections_per_key: Annotated[int, Field(ge=0, le=1_000_000)] = 4096
    log_format: Literal["human", "json"] = "human"
    log_file: Path | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    _guessed: frozenset[str] = PrivateAttr(default=frozenset())

    def model_post_init(self, context: Any) -> None:  # noqa: ANN401 - pydantic's own
        """Note which values nobody gave, the context of the validation."""
        self._guessed = context or frozenset()

    def named_files(self) -> dict[str, tuple[Path, NamedFile]]:
        """Return the files that have to be there, by the name of their setting."""
        # Where a type is a union, pydantic leaves only the marks around it in the field's metadata.
        marked = [(name, mark) for name, field in type(self).model_fields.items() for mark in field.metadata]
        return {
            name: (path, mark)
            for name, mark in marked
            if isinstance(mark, NamedFile) and (path := getattr(self, name)) is not None
        }

    @property
    def guesses_address(self) -> bool:
        """Whether `server_address` is this host's own guess."""
        return "server_address" in self._guessed

    @property
    def base_url(self) -> str:
        """The base of the addresses of dashboard, API and subscriptions, without a slash at its end."""
        return self.public_url or base_url(self.domain or self.server_address, self.listen.port)

    @property
    def panel_port(self) -> int | None:
        """The API's port; None when the API listens on loopback only."""
        return None if ip_address(self.listen.host).is_loopback else self.listen.port


def load_settings(environment: Mapping[str, str] = ENVIRONMENT, *, data_dir: Path | None = None) -> Settings:
    """Return the settings from the environment, else from `<data dir>/vpnkeys.env`; `data_dir` overrides its setting.

    Raises SettingsError, which names every wrong setting, or says that the data directory is another user's.
    """
    data_dir = data_dir.absolute() if data_dir else set_data_dir(environment)
    given = {**_env_file(data_dir / ENV_FILE), **_ours(environment)}
    known = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
    unknown = sorted(given.keys() - known)
    values = {
        name.removeprefix(PREFIX).lower(): value for name, value in given.items() if value and name not in unknown
    }
    defaults = {
        "server_address": values.get("domain") or default_address(),
        "reality_server_names": DEFAULT_SERVER_NAMES,
        "database_url": f"sqlite:///{quote(str(data_dir / 'vpnkeys.db'))}",
    }
    faults = [f"{name}: there is no such setting" for name in unknown]
    if ("tls_cert" in values) != ("tls_key" in values):
        faults.append(f"{PREFIX}TLS_CERT and {PREFIX}TLS_KEY: give both or neither")
    if "domain" in values and "tls_cert" in values:
        faults.append(f"{PREFIX}DOMAIN and {PREFIX}TLS_CERT: give one of them; each says which certificate is served")
    guessed = frozenset(defaults.keys() - values.keys()) - ({"server_address"} if "domain" in values else set())
    settings, more = _validated({**defaults, **values, "data_dir": data_dir}, guessed)
    if settings is None or faults:
        raise SettingsError("\n".join([*faults, *more]))
    return settings


def set_data_dir(environment: Mapping[str, str] = ENVIRONMENT) -> Path:
    """Return the data directory of commands that work on one without looking for a server: the set one, else `data`."""
    return Path(environment.get(f"{PREFIX}DATA_DIR") or "data").absolute()


def data_dirs(environment: Mapping[str, str] = ENVIRONMENT) -> tuple[Path, ...]:
    """Return the directories where a server of this machine may have its data: the set one, else the defaults."""
    first = set_data_dir(environment)
    return (first,) if environment.get(f"{PREFIX}DATA_DIR") else (first, SYSTEM_DATA_DIR)


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


def _ours(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(PREFIX) and name not in CLI_NAMES}


def _env_file(path: Path) -> dict[str, str]:
    try:
        require_ours(path.parent)
        text = read_ours(path)
    except NotOurs as error:
        raise SettingsError(str(error)) from error
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}; it has to belong to the server's user"
        raise SettingsError(msg) from error
    # No interpolation: a `$` in a password is only a `$`.
    return {name: value or "" for name, value in dotenv_values(stream=StringIO(text), interpolate=False).items()}
