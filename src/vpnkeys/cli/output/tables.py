"""Tables for people. Long cells are folded, never cut off."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from rich import box
from rich.table import Table
from rich.text import Text

from vpnkeys.cli.names import short_ids
from vpnkeys.cli.output.plain import plain, plain_lines
from vpnkeys.cli.values import to_minute, to_second
from vpnkeys.client import Key
from vpnkeys.domain.limits.term import in_words

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP = 1000


def table_of(titles: Iterable[str], rows: Iterable[Iterable[object]]) -> Table:
    """Return a table. None is an empty cell; a title that starts with `>` marks a right-aligned column of numbers."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in titles:
        table.add_column(title.lstrip(">"), overflow="fold", justify="right" if title.startswith(">") else "left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: object) -> Text:
    return Text("" if value is None else plain(str(value)))


def table_of_keys(
    keys: Sequence[Key], devices: Mapping[str, int | None] = MappingProxyType({}), *, wide: bool = False
) -> Table:
    """Return a table with one row per key: what is used, what of, until when, and devices online by id if given."""
    rows = [
        (
            short,
            key.name,
            status_of(key),
            _used(key),
            _traffic_limit(key),
            expiry(key.expires_at, key.expires_after_s),
            devices.get(key.id),
            *_wide(key, wide=wide),
        )
        for short, key in zip(short_ids([key.id for key in keys]), keys, strict=True)
    ]
    more = ("Full ID", ">Port", "SNI", "Made") if wide else ()
    return table_of(("ID", "Name", "Status", ">Used", "Limit", "Expires", ">Online", *more), rows)


def _wide(key: Key, *, wide: bool) -> tuple[object, ...]:
    return (key.id, key.port, key.sni, to_minute(key.created_at)) if wide else ()


def _used(key: Key) -> str | None:
    return None if key.used_in_window_bytes is None else short_bytes(key.used_in_window_bytes)


def expiry(at: datetime | None, after_s: int | None) -> str:
    """Return when a key expires: a moment, so long after its first connection, or never."""
    if at is None and after_s:
        return f"{in_words(after_s)} from the first connection"
    return to_minute(at) or "never"


def exact_expiry(key: Key) -> str:
    """Return when a key expires, to the second where it is a moment."""
    return to_second(key.expires_at) or expiry(None, key.expires_after_s)


def yes_or_no(value: bool) -> str:
    """Return "yes" or "no"."""
    return "yes" if value else "no"


def status_of(key: Key) -> str:
    """Return the key's status. Older servers send only whether it is switched on."""
    return key.status or ("active" if key.is_active else "disabled")


def table_of_fields(fields: Iterable[tuple[str, object]]) -> Table:
    """Return a table with one row per field, without the fields whose value is None."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for title, value in fields:
        if value is not None:
            table.add_row(title, Text(plain_lines(str(value))))
    return table


def key_fields(key: Key) -> list[tuple[str, object]]:
    """Return titles and values of a key's fields, the most wanted first."""
    return [
        ("Name", key.name),
        ("ID", key.id),
        ("UUID", key.uuid),
        ("Port", key.port),
        ("Short ID", key.short_id),
        ("SNI", key.sni),
        ("Made", to_second(key.created_at)),
        ("Status", status_of(key)),
        ("Expires", exact_expiry(key)),
        ("Traffic limit", _traffic_limit(key)),
        ("Used", _used(key)),
        ("Left", None if key.remaining_bytes is None else human_bytes(key.remaining_bytes)),
        ("Begins anew", to_second(key.resets_at)),
        ("Devices", key.max_devices),
        ("Speed", None if key.speed_limit_mbps is None else f"{key.speed_limit_mbps} Mbit/s"),
        ("Fingerprint", key.fingerprint),
        ("Note", key.note or None),
    ]


def _traffic_limit(key: Key) -> str | None:
    if key.traffic_limit_bytes is None:
        return None
    return f"{short_bytes(key.traffic_limit_bytes)}, {key.traffic_limit_window or 'total'}"


def human_bytes(count: int) -> str:
    """Return a size with the exact number of bytes behind it."""
    short = short_bytes(count)
    return short if short.endswith(" B") else f"{short} ({count} B)"


def short_bytes(count: float) -> str:
    """Return a size in its largest unit, such as 1.5 MB, which is 1.5 times 10^6 bytes."""
    size, unit = float(count), 0
    while size >= _STEP and unit < len(_UNITS) - 1:
        size, unit = size / _STEP, unit + 1
    return f"{size:.0f} B" if unit == 0 else f"{size:.1f} {_UNITS[unit]}".replace(".0 ", " ")
