"""The apps that customers use, by system: where to get them, and the links by which each adds a subscription."""

import base64
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import quote


class SpelledAddress(NamedTuple):
    """Holds the address and the name of a subscription in the spellings that links of apps need."""

    raw: str
    encoded: str
    base64: str
    name: str


class App(NamedTuple):
    """An app, the form of its links (with places of `SpelledAddress`), and where to get it on each system."""

    name: str
    link: str
    stores: Mapping[str, str]


def spelled(address: str, name: str) -> SpelledAddress:
    """Return a subscription's address and name for the links of apps."""
    in_base64 = base64.urlsafe_b64encode(address.encode()).decode().rstrip("=")
    return SpelledAddress(address, quote(address, safe=""), in_base64, quote(name, safe=""))


ANDROID, IOS, WINDOWS, MACOS, LINUX = "Android", "iOS", "Windows", "macOS", "Linux"

_APPLE = "https://apps.apple.com/app"
_GOOGLE = "https://play.google.com/store/apps/details?id="
_GITHUB = "https://github.com"
_HAPP = f"{_APPLE}/happ-proxy-utility/id6504287215"
_HAPP_DESKTOP = f"{_GITHUB}/Happ-proxy/happ-desktop/releases"
_HIDDIFY = f"{_GITHUB}/hiddify/hiddify-app/releases"
_STREISAND = f"{_APPLE}/streisand/id6450534064"
_SING_BOX = "https://sing-box.sagernet.org/clients/"
_CLASH_VERGE = f"{_GITHUB}/clash-verge-rev/clash-verge-rev/releases"

# The order is that of the page. A link has the address as it is where the app takes all behind its own prefix, and
# encoded where the app reads it from a query.
APPS = (
    App(
        "Happ",
        "happ://add/{0.raw}",
        {
            ANDROID: f"{_GOOGLE}com.happproxy",
            IOS: _HAPP,
            WINDOWS: _HAPP_DESKTOP,
            MACOS: _HAPP,
            LINUX: _HAPP_DESKTOP,
        },
    ),
    App(
        "v2rayNG",
        "v2rayng://install-sub?url={0.encoded}#{0.name}",
        {ANDROID: f"{_GITHUB}/2dust/v2rayNG/releases"},
    ),
    App(
        "V2RayTun",
        "v2raytun://import/{0.raw}",
        {ANDROID: f"{_GOOGLE}com.v2raytun.android", IOS: f"{_APPLE}/v2raytun/id6476628951"},
    ),
    App("Streisand", "streisand://import/{0.raw}#{0.name}", {IOS: _STREISAND, MACOS: _STREISAND}),
    App(
        "Shadowrocket",
        "shadowrocket://add/sub://{0.base64}?remark={0.name}",
        {IOS: f"{_APPLE}/shadowrocket/id932747118"},
    ),
    App(
        "Hiddify",
        "hiddify://import/{0.raw}#{0.name}",
        {
            ANDROID: f"{_GOOGLE}app.hiddify.com",
            IOS: f"{_APPLE}/hiddify-proxy-vpn/id6596777532",
            WINDOWS: _HIDDIFY,
            MACOS: _HIDDIFY,
            LINUX: _HIDDIFY,
        },
    ),
    App(
        "sing-box",
        "sing-box://import-remote-profile?url={0.encoded}#{0.name}",
        {ANDROID: _SING_BOX, IOS: _SING_BOX, MACOS: _SING_BOX},
    ),
    App(
        "Clash Verge",
        "clash://install-config?url={0.encoded}&name={0.name}",
        {WINDOWS: _CLASH_VERGE, MACOS: _CLASH_VERGE, LINUX: _CLASH_VERGE},
    ),
)

SYSTEMS: Mapping[str, tuple[App, ...]] = MappingProxyType(
    {system: tuple(app for app in APPS if system in app.stores) for system in (ANDROID, IOS, WINDOWS, MACOS, LINUX)}
)

# In this order: Android calls itself Linux too, and browsers of iOS name macOS.
_SYSTEM_OF = (
    (re.compile(r"Android"), ANDROID),
    (re.compile(r"iPhone|iPad|iPod"), IOS),
    (re.compile(r"Windows"), WINDOWS),
    (re.compile(r"Macintosh"), MACOS),
    (re.compile(r"Linux|X11"), LINUX),
)


def systems_for(user_agent: str) -> tuple[str, ...]:
    """Return all systems, that of this browser first; Android for an unknown one."""
    own = next((system for pattern, system in _SYSTEM_OF if pattern.search(user_agent)), ANDROID)
    return (own, *(system for system in SYSTEMS if system != own))
