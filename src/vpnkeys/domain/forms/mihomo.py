"""Complete configurations for mihomo (wiki.metacubex.one/config), which Clash Verge, FlClash and others have inside.

With keys of which none works, the configuration rejects all traffic: a client that updates its subscription by itself
must not fall back to sending everything outside the VPN.
"""

from collections.abc import Sequence
from typing import Any

from vpnkeys.domain.forms.entries import ENDED_ADDRESS, ENDED_PORT, ENDED_UUID, GROUP, Entry
from vpnkeys.domain.inbound import ServerIdentity, SiteOf

Config = dict[str, Any]

_LISTEN = "127.0.0.1"
_PORT = 7890
_LAN = ("10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")


def mihomo_config(entries: Sequence[Entry], site_of: SiteOf) -> Config:
    """Return mihomo's configuration: a SOCKS and HTTP proxy on loopback; the VPN carries all but local networks."""
    # no-resolve: these rules must not resolve names, which would show them to the local DNS.
    local = [f"{'IP-CIDR6' if ':' in net else 'IP-CIDR'},{net},DIRECT,no-resolve" for net in _LAN]
    carried = [*local, f"MATCH,{GROUP}"] if any(entry.works for entry in entries) else ["MATCH,REJECT"]
    return {
        "mixed-port": _PORT,
        "bind-address": _LISTEN,
        "allow-lan": False,
        "mode": "rule",
        "log-level": "warning",
        "ipv6": True,
        "proxies": [_proxy(entry, site_of(entry.key)) if entry.works else _ended(entry) for entry in entries],
        "proxy-groups": [{"name": GROUP, "type": "select", "proxies": [entry.name for entry in entries]}],
        "rules": carried,
    }


def _proxy(entry: Entry, site: ServerIdentity) -> Config:
    key = entry.key
    proxy: Config = {
        "name": entry.name,
        "type": "vless",
        "server": site.server_address.strip("[]"),
        "port": key.port,
        "uuid": key.uuid,
        "network": "tcp",
        "udp": True,
        "packet-encoding": "xudp",
        "tls": True,
        "servername": key.sni,
        "client-fingerprint": site.fingerprint_of(key).value,
        "reality-opts": {"public-key": site.public_key, "short-id": key.short_id},
    }
    return {**proxy, "flow": key.flow} if key.flow else proxy


def _ended(entry: Entry) -> Config:
    return {
        "name": entry.name,
        "type": "vless",
        "server": ENDED_ADDRESS,
        "port": ENDED_PORT,
        "uuid": ENDED_UUID,
        "network": "tcp",
        "udp": False,
    }
