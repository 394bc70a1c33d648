"""Returns the parts of config.json that follow from the settings and from this host."""

from contextlib import suppress
from ipaddress import ip_address

from vpnkeys.default_address import default_address
from vpnkeys.domain.networks import is_private
from vpnkeys.ops.data_dir import api_socket
from vpnkeys.settings import Settings
from vpnkeys.store.files.certificate import host_names
from vpnkeys.xray.config.document import BaseConfig


def base_config(settings: Settings, mark: int | None) -> BaseConfig:
    """Return them; `mark` is the kernel filter's, None where there is no filter."""
    return BaseConfig(
        str(api_socket(settings)),
        settings.port_range,
        settings.egress_allow,
        _own_addresses(),
        settings.panel_port,
        mark=mark,
        has_ipv4=":" not in default_address(),
    )


def _own_addresses() -> tuple[str, ...]:
    """Return this host's public addresses; private ones are blocked by their networks already."""
    own = []
    for name in sorted(host_names()):
        with suppress(ValueError):  # host names are among them
            address = ip_address(name)
            if not is_private(address):
                own.append(str(address))
    return tuple(own)
