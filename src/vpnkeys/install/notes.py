"""Texts for the operator: the settings file, and the lines printed after an installation."""

from collections.abc import Callable, Sequence

from vpnkeys.domain.portpool import PortRange
from vpnkeys.domain.reached import HTTPS_PORT
from vpnkeys.settings import DEFAULT_SERVER_NAMES, Settings

_HTTP_PORT = 80
"""Where the authority checks that the domain leads here; the port is open only while it does."""

_AGENT = "vpnkeys-agent"

ENV_TEMPLATE = f"""\
# Settings of vpnkeys. Remove the # before a setting and change its value, then: systemctl restart vpnkeys
# docs/en/operations.md lists all of them. With an unknown name or a wrong value the server does not start;
# the reason is in: journalctl -u vpnkeys

# The name or address by which customers reach this server; without it, the address of the default route.
#VPNKEYS_SERVER_ADDRESS=vpn.example.com

# The name of this server, or its public address: a trusted certificate for it is issued and renewed by itself.
#VPNKEYS_DOMAIN=vpn.example.com

# Where the API listens; [::] is IPv4 and IPv6.
#VPNKEYS_LISTEN=[::]:8000

# Behind nginx or Caddy: the base of the public addresses, and where the proxy is.
#VPNKEYS_PUBLIC_URL=https://vpn.example.com/panel
#VPNKEYS_TRUSTED_PROXIES=127.0.0.1,::1

# The ports of the keys, one each.
#VPNKEYS_PORT_RANGE=10001-10100

# Well-known sites that the server imitates: with TLS 1.3 and h2, reachable from here, none of your own.
#VPNKEYS_REALITY_SERVER_NAMES={DEFAULT_SERVER_NAMES}

# A certificate of your own, readable for the user vpnkeys; replaced files are loaded without a restart.
#VPNKEYS_TLS_CERT=/var/lib/vpnkeys/own-tls/fullchain.pem
#VPNKEYS_TLS_KEY=/var/lib/vpnkeys/own-tls/privkey.pem

# Private destinations that customers may reach.
#VPNKEYS_EGRESS_ALLOW=10.1.2.3/32:443

# How many requests the API accepts; name=0 for no limit.
#VPNKEYS_RATE_LIMITS=create=5/minute,list=30/minute
"""


NODE_TEMPLATE = f"""\
# Settings of this node. Remove the # before a setting and change its value, then: systemctl restart vpnkeys-agent
# docs/en/operations.md lists all of them. With an unknown name or a wrong value the agent does not start;
# the reason is in: journalctl -u vpnkeys-agent
# The address and ports of its keys are the control plane's to say: vpnkeys nodes, there.

# Well-known sites that the node imitates: with TLS 1.3 and h2, reachable from here, none of your own.
#VPNKEYS_REALITY_SERVER_NAMES={DEFAULT_SERVER_NAMES}

# Private destinations that customers may reach.
#VPNKEYS_EGRESS_ALLOW=10.1.2.3/32:443
"""


def node_introduction(settings: Settings, version: str, node: str, url: str, fault: str) -> list[str]:
    """Return the lines printed after a host became a node; `fault` is what is wrong with its address, if anything."""
    address = settings.server_address
    return [
        f"vpnkeys {version} runs node {node} of {url}, now and after every boot",
        f"settings: {settings.data_dir}/vpnkeys.env   data: {settings.data_dir}   log: journalctl -u {_AGENT}",
        *([f"warning: links of its keys have the address {address}, a guess: {fault}"] if fault else []),
        *([f"On the control plane:  vpnkeys nodes set {node} --address ADDRESS"] if fault else []),
        "",
        f"The first key, on the control plane:  vpnkeys keys add me --node {node}",
    ]


def introduction(settings: Settings, version: str, fingerprint: str, api_key: str | None) -> list[str]:
    """Return the lines printed after a first installation, with the API key when it was made just now."""
    url = settings.base_url
    lines = [
        f"vpnkeys {version} serves {url}, now and after every boot",
        *([f"certificate (SHA-256): {fingerprint}"] if fingerprint else []),
        f"dashboard: {url}/ui/",
        f"settings: {settings.data_dir}/vpnkeys.env   data: {settings.data_dir}   log: journalctl -u vpnkeys",
    ]
    if api_key is not None:
        lines += ["", f"API key, shown this once: {api_key}"]
    return [
        *lines,
        "",
        "The first key, with its link:  vpnkeys keys add me --qr",
        "The data of a server in the foreground (./data) are not used; vpnkeys backup and restore copy them.",
    ]


def firewall_hints(settings: Settings, has: Callable[[str], bool]) -> list[str]:
    """Return the commands that open the ports in a firewall; `has` says which programs exist. They are not run.

    Only TCP is opened: VLESS over REALITY carries customers' UDP inside it.
    """
    panel, pool = settings.panel_port, settings.port_range
    checked = [_HTTP_PORT] if settings.domain and settings.listen.port != HTTPS_PORT else []
    return hints_to_open([*checked, *([panel] if panel is not None else [])], pool, has)


def hints_to_open(ports: Sequence[int], pool: PortRange, has: Callable[[str], bool]) -> list[str]:
    """Return the commands that open these ports and those of keys in a firewall; `has` says which programs exist."""
    opened = [*map(str, ports), _as_text(pool, "-")]
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
        "If there is a firewall, here or at your provider, open these ports:",
        *(f"  {line}" for line in found or other),
    ]


def _as_text(pool: PortRange, dash: str) -> str:
    return str(pool.first) if pool.first == pool.last else f"{pool.first}{dash}{pool.last}"
