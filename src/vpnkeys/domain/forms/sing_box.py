"""Complete configurations for sing-box (sing-box.sagernet.org/configuration), in the form that each version reads.

Version 1.12 changed how DNS servers are written and refuses the older form. The oldest version that reads any of these
is 1.11: those before it have no rule actions.

With keys of which none works, the configuration rejects all traffic: a client that updates its subscription by itself
must not fall back to sending everything outside the VPN.
"""

from collections.abc import Sequence
from typing import Any

from vpnkeys.domain.forms.entries import ENDED_ADDRESS, ENDED_PORT, ENDED_UUID, GROUP, Entry
from vpnkeys.domain.inbound import ServerIdentity, SiteOf

Config = dict[str, Any]
Version = tuple[int, int]

NEWEST_FORM: Version = (1, 12)
"""The first version that reads the newest form."""

_LISTEN = "127.0.0.1"
_PORT = 2080

# The TUN device's own network: private ranges that home routers rarely use, so that they do not clash.
_TUN_ADDRESSES = ["172.19.0.1/30", "fdfe:dcba:9876::1/126"]


def sing_box_config(
    entries: Sequence[Entry], site_of: SiteOf, *, whole_device: bool = False, version: Version = NEWEST_FORM
) -> Config:
    """Return sing-box's configuration: a SOCKS and HTTP proxy on loopback, and with `whole_device` also a TUN device.

    The phone and desktop apps need the TUN device to carry the device's traffic; sing-box on a command line would need
    root to create one.
    """
    inbounds: list[Config] = [{"type": "mixed", "tag": "in", "listen": _LISTEN, "listen_port": _PORT}]
    if whole_device:
        tun = {"type": "tun", "tag": "tun", "address": _TUN_ADDRESSES, "auto_route": True, "strict_route": True}
        inbounds.insert(0, tun)
    outbounds: list[Config] = [
        {"type": "selector", "tag": GROUP, "outbounds": [entry.name for entry in entries]},
        *(_outbound(entry, site_of(entry.key)) if entry.works else _ended(entry) for entry in entries),
        {"type": "direct", "tag": "direct"},
    ]
    config: Config = {"log": {"level": "warn"}, "inbounds": inbounds, "outbounds": outbounds}
    if not any(entry.works for entry in entries):
        return {**config, "route": {"rules": [{"action": "reject"}]}}
    route = {"rules": _TUN_RULES if whole_device else [], "final": GROUP, "auto_detect_interface": whole_device}
    if version < NEWEST_FORM:
        return {**config, "dns": _DNS_BEFORE_1_12, "route": route}
    return {**config, "dns": _DNS, "route": {**route, "default_domain_resolver": "local"}}


_TUN_RULES: list[Config] = [
    {"action": "sniff"},
    {"protocol": "dns", "action": "hijack-dns"},
    {"ip_is_private": True, "outbound": "direct"},
]

# Names are resolved beyond the server, but for its own: the remote resolver is reached only through it.
_DNS: Config = {
    "servers": [
        {"type": "https", "tag": "remote", "server": "1.1.1.1", "detour": GROUP},
        {"type": "local", "tag": "local"},
    ],
    "final": "remote",
}
_DNS_BEFORE_1_12: Config = {
    "servers": [
        {"tag": "remote", "address": "https://1.1.1.1/dns-query", "detour": GROUP},
        {"tag": "local", "address": "local"},
    ],
    "rules": [{"outbound": "any", "server": "local"}],
    "final": "remote",
}


def _outbound(entry: Entry, site: ServerIdentity) -> Config:
    key = entry.key
    outbound: Config = {
        "type": "vless",
        "tag": entry.name,
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


def _ended(entry: Entry) -> Config:
    return {
        "type": "vless",
        "tag": entry.name,
        "server": ENDED_ADDRESS,
        "server_port": ENDED_PORT,
        "uuid": ENDED_UUID,
    }
