"""Renders a customer's page: links, QR codes, apps and used traffic, without anything of another server.

Every value is escaped where it is inserted: a key's name may come from a customer.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from string import Template

from vpnkeys.api.pages.static import read
from vpnkeys.api.pages.sub_apps import SYSTEMS, App, SpelledAddress, spelled, systems_for
from vpnkeys.api.pages.sub_words import Words
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Limits, Status, Window, WindowUsage
from vpnkeys.domain.operator import Operator

_PAGE = Template(read("subscription", "page.html").decode())
_STYLE = read("subscription", "page.css").decode()
_SCRIPT = read("subscription", "page.js").decode()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


POLICY = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""The Content-Security-Policy of the page: its own style and script are allowed, by their hashes, and nothing else."""


@dataclass(frozen=True, slots=True)
class Access:
    """Holds what a customer sees of a key. `usage` is that of the present window of its traffic limit.

    `devices` is how many are online now, None where it is not known or there is no limit of them.
    """

    key: Key
    link: str
    usage: WindowUsage
    devices: int | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """Holds what a page is made for: its address, the operator, the browser, and the moment, UTC without an offset."""

    address: str
    operator: Operator
    user_agent: str
    now: datetime


def render_page(accesses: Sequence[Access], visit: Visit, words: Words) -> str:
    """Return the page as HTML: for one key with its name and state above, for several with a heading for each."""
    operator = visit.operator
    first, *others = accesses
    title = operator.name or words.several if others else first.key.name
    cards = []
    if operator.announcement:
        cards.append(_card(words.from_operator, [f"<p>{escape(operator.announcement)}</p>"]))
    cards += [_usage(access, visit.now, words, is_named=bool(others)) for access in accesses]
    working = [access for access in accesses if access.key.serves]
    if working:
        cards.append(_apps(spelled(visit.address, operator.name or title), visit.user_agent, words))
    cards += [_link(number, access, words, is_named=bool(others)) for number, access in enumerate(working)]
    if working:
        cards.append(_subscription(visit.address, words))
    if operator.support_url:
        cards.append(f'<p class="help"><a href="{escape(operator.support_url)}">{escape(words.support)}</a></p>')
    return _PAGE.substitute(
        language=words.language,
        title=escape(title),
        style=_STYLE,
        script=_SCRIPT,
        head=_head(title, None if others else first.key.status, "" if others else operator.name, words),
        cards="\n".join(cards),
        copied=escape(words.copied),
        not_copied=escape(words.not_copied),
    )


def _head(title: str, status: Status | None, operator: str, words: Words) -> str:
    above = f'<p class="faint" dir="auto">{escape(operator)}</p>' if operator else ""
    state = "" if status is None else _state(status, words)
    return f'<div>{above}<h1 dir="auto">{escape(title)}</h1></div>{state}'


def _state(status: Status, words: Words) -> str:
    return f'<p class="status {status.value}">{escape(words.statuses[status])}</p>'


def _usage(access: Access, now: datetime, words: Words, *, is_named: bool) -> str:
    key, limits = access.key, access.key.limits
    window, used_bytes = words.window(limits.traffic_window), access.usage.used_bytes or 0
    lines = []
    if is_named:
        lines.append(f'<div class="named"><h2 dir="auto">{escape(key.name)}</h2>{_state(key.status, words)}</div>')
    if key.status in words.why:
        lines.append(f'<p class="why">{escape(_why(key, words))}</p>')
    lines.append(f'<p class="used">{escape(words.size(used_bytes))}</p>')
    if limits.traffic_bytes is None:
        lines.append(f'<p class="faint">{escape(words.used.format(window))}</p>')
    else:
        share = min(100, used_bytes * 100 // limits.traffic_bytes)
        of = escape(words.of.format(words.size(limits.traffic_bytes), window))
        label = f'aria-label="{of}"'
        lines.append(f'<p class="faint">{of}</p><progress max="100" value="{share}" {label}>{share} %</progress>')
        lines.append(_faint(_left(access.usage, words)))
    lines += [_faint(line) for line in (*_expiry(limits, now, words), *_devices(access, words))]
    return _card("", lines)


def _faint(html: str) -> str:
    return f'<p class="faint">{html}</p>'


def _why(key: Key, words: Words) -> str:
    """Return why a key does not work, and what to do: a limit of a period is waited for, another is not."""
    comes_back = key.status is Status.LIMITED and key.limits.traffic_window != Window.TOTAL
    return words.comes_back if comes_back else words.why[key.status]


def _left(usage: WindowUsage, words: Words) -> str:
    """Return what is left of a limit, and when there is more again."""
    left = escape(words.remaining(usage))
    return left if usage.resets_at is None else f"{left} · {escape(words.resets).format(_time(usage.resets_at, words))}"


def _expiry(limits: Limits, now: datetime, words: Words) -> list[str]:
    """Return until when an access works, and how many days are left."""
    if limits.is_waiting:
        return [escape(words.waiting(limits))]
    if limits.expires_at is None:
        return [escape(words.never)]
    until = escape(words.expires).format(_time(limits.expires_at, words))
    left = -((now - limits.expires_at) // timedelta(days=1))  # a day that has begun counts
    return [until, *([escape(words.days(left))] if left > 0 else [])]


def _time(moment: datetime, words: Words) -> str:
    """Return a moment in UTC, which the page's script shows in the reader's zone."""
    return f'<time datetime="{moment.isoformat(timespec="seconds")}Z">{moment.strftime(words.date)}</time>'


def _devices(access: Access, words: Words) -> list[str]:
    most = access.key.limits.max_devices
    if most is None:
        return []
    return [escape(words.devices_of(access.devices, most))]


def _apps(place: SpelledAddress, user_agent: str, words: Words) -> str:
    own, *others = systems_for(user_agent)
    rest = "".join(f"<h3>{system}</h3>{_list(SYSTEMS[system], system, place, words)}" for system in others)
    return _card(
        words.apps,
        [
            f'<p class="faint">{escape(words.apps_hint)}</p>',
            f"<h3>{own}</h3>{_list(SYSTEMS[own], own, place, words)}",
            f"<details><summary>{escape(words.other_systems)}</summary>{rest}</details>",
        ],
    )


def _list(apps: Sequence[App], system: str, place: SpelledAddress, words: Words) -> str:
    rows = []
    for app in apps:
        add = f'<a class="add" href="{escape(app.link.format(place))}">{escape(words.add_to.format(app.name))}</a>'
        get = f'{escape(words.get_app)}<span class="unseen">: {escape(app.name)}, {system}</span>'
        rows.append(f'<li>{add}<a href="{escape(app.stores[system])}" rel="noreferrer">{get}</a></li>')
    return f'<ul class="apps">{"".join(rows)}</ul>'


def _link(number: int, access: Access, words: Words, *, is_named: bool) -> str:
    import segno  # noqa: PLC0415 - most servers are never asked for one, and it is large

    link = escape(access.link)
    picture = segno.make_qr(access.link, error="m").svg_inline(omitsize=True, border=4, svgclass="qr", lineclass=None)
    lines = [
        f'<div role="img" aria-label="{escape(words.scan)}">{picture}</div>',
        f'<p class="faint">{escape(words.scan)}</p>',
        f'<a class="button" href="{link}">{escape(words.open_app)}</a>',
        f'<p class="faint">{escape(words.by_hand)}</p>',
        *_copied(f"link-{number}", link, words),
    ]
    if not is_named:
        return _card(words.your_link, lines)
    # Several links are folded: the page of a family would be as long as all its QR codes.
    name = f'<summary dir="auto">{escape(words.your_link)}: {escape(access.key.name)}</summary>'
    return _card("", ["<details>", name, *lines, "</details>"])


def _subscription(address: str, words: Words) -> str:
    hint = f'<p class="faint">{escape(words.itself_hint)}</p>'
    return _card(words.itself, [*_copied("address", escape(address), words), hint])


def _copied(name: str, text: str, words: Words) -> list[str]:
    """Return a text with the button that copies it, which the script shows."""
    button = f'<button type="button" class="copy" data-of="{name}" hidden>{escape(words.copy)}</button>'
    return [f'<code id="{name}" tabindex="0">{text}</code>', button]


def _card(title: str, lines: list[str]) -> str:
    head = [f"<h2>{escape(title)}</h2>"] if title else []
    return "\n".join(["<section>", *head, *lines, "</section>"])
