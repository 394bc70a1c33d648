"""Renders a customer's page: link, QR code and used traffic, without a script or anything of another server.

Every value is escaped where it is inserted: a key's name may come from a customer.
"""

import base64
import hashlib
from dataclasses import dataclass
from html import escape
from string import Template
from urllib.parse import quote

from vpnkeys.api.pages.static import read
from vpnkeys.api.pages.sub_words import Words
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Status

_PAGE = Template(read("subscription", "page.html").decode())
_STYLE = read("subscription", "page.css").decode()
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the page: nothing is allowed but its own style, by its hash."""

_APPS = {
    "Android": "Hiddify, v2rayNG, sing-box",
    "iOS": "Hiddify, Streisand, sing-box",
    "Windows": "Hiddify, v2rayN",
    "macOS": "Hiddify, sing-box",
    "Linux": "Hiddify, sing-box",
}

# Links by which apps add a subscription, with places for its address and its name, both encoded for a URL.
_ADD_TO = {
    "Hiddify": "hiddify://import/{}#{}",
    "sing-box": "sing-box://import-remote-profile?url={}#{}",
    "Clash": "clash://install-config?url={}&name={}",
}


@dataclass(frozen=True, slots=True)
class Access:
    """Holds what a customer sees of a key. `used_bytes` counts in the present window of its traffic limit."""

    key: Key
    link: str
    address: str
    used_bytes: int


def render_page(access: Access, words: Words) -> str:
    """Return the page as HTML."""
    key = access.key
    cards = [_usage(access, words)]
    if key.status is Status.ACTIVE:
        cards += [_link(access.link, words), _subscription(access, words), _apps(words)]
    return _PAGE.substitute(
        language=words.language,
        name=escape(key.name),
        style=_STYLE,
        status=key.status.value,
        status_word=escape(words.statuses[key.status]),
        cards="\n".join(cards),
    )


def _usage(access: Access, words: Words) -> str:
    limits = access.key.limits
    window = words.windows[limits.traffic_window]
    lines = [f'<p class="used">{escape(words.size(access.used_bytes))}</p>']
    if limits.traffic_bytes is None:
        lines.append(f'<p class="faint">{escape(words.used.format(window))}</p>')
    else:
        share = min(100, access.used_bytes * 100 // limits.traffic_bytes)
        of = words.of.format(words.size(limits.traffic_bytes), window)
        label = escape(f"{share} %")
        lines.append(f'<p class="faint">{escape(of)}</p><progress max="100" value="{share}">{label}</progress>')
    lines.append(f'<p class="faint">{escape(words.expiry(limits.expires_at))}</p>')
    if access.key.status in words.why:
        lines.insert(0, f'<p class="why">{escape(words.why[access.key.status])}</p>')
    return _card("", lines)


def _link(link: str, words: Words) -> str:
    import segno  # noqa: PLC0415 - most servers are never asked for one, and it is large

    picture = segno.make_qr(link, error="m").svg_inline(omitsize=True, border=4, svgclass="qr", lineclass=None)
    return _card(
        words.your_link,
        [
            picture,
            f'<p class="faint">{escape(words.scan)}</p>',
            f'<a class="button" href="{escape(link)}">{escape(words.open_app)}</a>',
            f'<p class="faint">{escape(words.by_hand)}</p>',
            f'<code tabindex="0">{escape(link)}</code>',
        ],
    )


def _subscription(access: Access, words: Words) -> str:
    address, name = quote(access.address, safe=""), quote(access.key.name, safe="")
    places = {app: place.format(address, name) for app, place in _ADD_TO.items()}
    buttons = "".join(f'<a href="{escape(place)}">{escape(app)}</a>' for app, place in places.items())
    return _card(
        words.itself,
        [
            f'<code tabindex="0">{escape(access.address)}</code>',
            f'<p class="buttons">{buttons}</p>',
            f'<p class="faint">{escape(words.itself_hint)}</p>',
        ],
    )


def _apps(words: Words) -> str:
    rows = "".join(f"<dt>{escape(system)}</dt><dd>{escape(apps)}</dd>" for system, apps in _APPS.items())
    return _card(words.apps, [f"<dl>{rows}</dl>"])


def _card(title: str, lines: list[str]) -> str:
    head = [f"<h2>{escape(title)}</h2>"] if title else []
    return "\n".join(["<section>", *head, *lines, "</section>"])
