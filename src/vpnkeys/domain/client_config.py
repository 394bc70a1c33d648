"""Complete configurations for customers' clients.

Formats: sing-box 1.12 and later (sing-box.sagernet.org/configuration) and mihomo (wiki.metacubex.one/config).

For a key that is not active, the configuration rejects all traffic: a client that updates its subscription by itself
must not fall back to sending everything outside the VPN.
"""

from typing import Any

from vpnkeys.domain.inbound import ServerIdentity
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Status

Config = dict[str, Any]

_LISTEN = "127.0.0.1"
_SING_BOX_PORT = 2080
_MIHOMO_PORT = 7890

_SELECTOR = "VPN"
_MIHOMO_NAMES = frozenset({_SELECTOR, "COMPATIBLE", "DIRECT", "GLOBAL", "PASS", "REJECT", "REJECT-DROP"})
"""Names that mihomo already uses, which a proxy cannot have."""

# The TUN device's own network: private ranges that home routers rarely use, so that they do not clash.
_TUN_ADDRESSES = ["172.19.0.1/30", "fdfe:dcba:9876::1/126"]
_LAN = ("10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")


def sing_box_config(key: Key, site: ServerIdentity, *, whole_device: bool = False) -> Config:
    """Return sing-box's configuration: a SOCKS and HTTP proxy on loopback, and with `whole_device` also a TUN device.

    The phone and desktop apps need the TUN device to carry the device's traffic; sing-box on a command line would need
    root to create one.
    """
    inbounds: list[Config] = [{"type": "mixed", "tag": "in", "listen": _LISTEN, "listen_port": _SING_BOX_PORT}]
    if whole_device:
        tun = {"type": "tun", "tag": "tun", "address": _TUN_ADDRESSES, "auto_route": True, "strict_route": True}
        inbounds.insert(0, tun)
    head: Config = {"log": {"level": "warn"}, "inbounds": inbounds}
    if key.status is not Status.ACTIVE:
        closed = {"rules": [{"action": "reject"}]}
        return {**head, "outbounds": [{"type": "direct", "tag": "direct"}], "route": closed}
    return {
        **head,
        "dns": {
            "servers": [
                {"type": "https", "tag": "remote", "server": "1.1.1.1", "detour": "proxy"},
                {"type": "local", "tag": "local"},
            ],
            "final": "remote",
        },
        "outbounds": [_sing_box_outbound(key, site), {"type": "direct", "tag": "direct"}],
        # The server's own name is resolved locally: the remote resolver is reached only through the server.
        "route": {
            "rules": _TUN_RULES if whole_device else [],
            "final": "proxy",
            "default_domain_resolver": "local",
            "auto_detect_interface": whole_device,
        },
    }


_TUN_RULES: list[Config] = [
    {"action": "sniff"},
    {"protocol": "dns", "action": "hijack-dns"},
    {"ip_is_private": True, "outbound": "direct"},
]


def _sing_box_outbound(key: Key, site: ServerIdentity) -> Config:
    outbound: Config = {
        "type": "vless",
        "tag": "proxy",
        "server": site.server_address.strip("[]"),
        "server_port": key.port,
        "uuid": key.uuid,
        "packet_encoding": "xudp",  # one session for all peers of a UDP socket, which calls and games need
        "tls": {
            "enabled": True,
            "server_name": key.sni,
            # sing-box requires uTLS for REALITY.
            "utls": {"enabled": True, "fingerprint": site.fingerprint_of(key).value},
            "reality": {"enabled": True, "public_key": site.public_key, "short_id": key.short_id},
        },
    }
    return {**outbound, "flow": key.flow} if key.flow else outbound


def mihomo_config(key: Key, site: ServerIdentity) -> Config:
    """Return mihomo's configuration: a SOCKS and HTTP proxy on loopback; the VPN carries all but local networks."""
    proxies = [_mihomo_proxy(key, site)] if key.status is Status.ACTIVE else []
    names = [proxy["name"] for proxy in proxies] or ["REJECT"]
    # no-resolve: these rules must not resolve names, which would show them to the local DNS.
    local = [f"{'IP-CIDR6' if ':' in net else 'IP-CIDR'},{net},DIRECT,no-resolve" for net in _LAN]
    return {
        "mixed-port": _MIHOMO_PORT,
        "bind-address": _LISTEN,
        "allow-lan": False,
        "mode": "rule",
        "log-level": "warning",
        "ipv6": True,
        "proxies": proxies,
        "proxy-groups": [{"name": _SELECTOR, "type": "select", "proxies": names}],
        "rules": [*local, f"MATCH,{_SELECTOR}"],
    }


def _mihomo_proxy(key: Key, site: ServerIdentity) -> Config:
    proxy: Config = {
        "name": f"{key.name} (1)" if key.name in _MIHOMO_NAMES else key.name,
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
