"""What an operator is given to read: the settings file, and what is said after an installation."""

from collections.abc import Callable

from vpnkeys.domain.portpool import PortRange
from vpnkeys.settings import DEFAULT_SERVER_NAMES, Settings

ENV_TEMPLATE = f"""\
# Settings of vpnkeys. Take away the first # of a line to change it, then: systemctl restart vpnkeys
# All of them are in docs/en/operations.md. An unknown name or a wrong value keeps the server from starting; why, is in
# journalctl -u vpnkeys

# The name or address by which customers reach this server; without it, the address of the default route.
#VPNKEYS_SERVER_ADDRESS=vpn.example.com

# Where the API listens.
#VPNKEYS_LISTEN=0.0.0.0:8000

# The ports of the keys, one each.
#VPNKEYS_PORT_RANGE=10001-10100

# Well-known sites that the server hides behind: TLS 1.3 with h2, reachable from here, none of your own.
#VPNKEYS_REALITY_SERVER_NAMES={DEFAULT_SERVER_NAMES}

# A certificate of your own, readable for the user vpnkeys; replaced files are taken up without a restart.
#VPNKEYS_TLS_CERT=/var/lib/vpnkeys/own-tls/fullchain.pem
#VPNKEYS_TLS_KEY=/var/lib/vpnkeys/own-tls/privkey.pem

# Private destinations that customers may reach.
#VPNKEYS_EGRESS_ALLOW=10.1.2.3/32:443

# How often the API may be asked; name=0 for no limit.
#VPNKEYS_RATE_LIMITS=create=5/minute,list=30/minute
"""


def introduction(settings: Settings, version: str, fingerprint: str, api_key: str | None) -> list[str]:
    """What a first installation ends with. The API key is in it when it was made just now."""
    host = f"[{settings.server_address}]" if ":" in settings.server_address else settings.server_address
    url = f"https://{host}:{settings.listen.port}"
    lines = [
        f"vpnkeys {version} serves {url}, now and after every boot",
        f"certificate (SHA-256): {fingerprint}",
        f"settings: {settings.data_dir}/vpnkeys.env   data: {settings.data_dir}   log: journalctl -u vpnkeys",
    ]
    if api_key is not None:
        lines += ["", f"API key, shown this once: {api_key}"]
    return [
        *lines,
        "",
        "The first key:  vpnkeys keys add me && vpnkeys keys show --qr ID",
        "Data of a server in the foreground (./data) are not touched; vpnkeys backup and restore bring them over.",
    ]


def firewall_hints(settings: Settings, has: Callable[[str], bool]) -> list[str]:
    """What to type where a firewall is in the way; `has` tells which programs there are. Nothing of it is done here.

    TCP alone: VLESS over REALITY carries customers' UDP inside it.
    """
    panel, pool = settings.panel_port, settings.port_range
    opened = [*([str(panel)] if panel is not None else []), _spelled(pool, "-")]
    hints = {
        "ufw": [f"ufw allow {port.replace('-', ':')}/tcp" for port in opened],
        "firewall-cmd": [
            *(f"firewall-cmd --permanent --add-port={port}/tcp" for port in opened),
            "firewall-cmd --reload",
        ],
    }
    found = [line for program, lines in hints.items() if has(program) for line in lines]
    other = [f"nft insert rule inet filter input tcp dport '{{ {', '.join(opened)} }}' accept"]
    return [
        "If a firewall is in the way, here or at your provider, open these ports:",
        *(f"  {line}" for line in found or other),
    ]


def _spelled(pool: PortRange, dash: str) -> str:
    return str(pool.first) if pool.first == pool.last else f"{pool.first}{dash}{pool.last}"
