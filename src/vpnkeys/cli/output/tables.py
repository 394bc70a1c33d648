"""Tables for people. Long cells are folded, never cut off."""

from collections.abc import Iterable
from datetime import datetime

from rich import box
from rich.table import Table
from rich.text import Text

from vpnkeys.cli.output.plain import plain, plain_lines
from vpnkeys.client import Key

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_STEP = 1024


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


def table_of_keys(keys: Iterable[Key]) -> Table:
    """Return a table with one row per key."""
    rows = ((key.id, key.name, status_of(key), key.port, key.sni, to_minute(key.created_at)) for key in keys)
    return table_of(("ID", "Name", "Status", ">Port", "SNI", "Made (UTC)"), rows)


def to_minute(moment: datetime | None) -> str | None:
    """Return a time to the minute, or None."""
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def to_second(moment: datetime | None) -> str | None:
    """Return a time to the second, which can be compared with a log, or None."""
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


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
        ("Made (UTC)", to_second(key.created_at)),
        ("Status", status_of(key)),
        ("Expires (UTC)", to_second(key.expires_at)),
        ("Traffic limit", _traffic_limit(key)),
        ("Devices", key.max_devices),
        ("Speed", None if key.speed_limit_mbps is None else f"{key.speed_limit_mbps} Mbit/s"),
        ("Fingerprint", key.fingerprint),
        ("Note", key.note or None),
    ]


def _traffic_limit(key: Key) -> str | None:
    if key.traffic_limit_bytes is None:
        return None
    return f"{human_bytes(key.traffic_limit_bytes)}, {key.traffic_limit_window or 'total'}"


def human_bytes(count: int) -> str:
    """Return a size in a binary unit with the exact number of bytes behind it."""
    short = short_bytes(count)
    return short if short.endswith(" B") else f"{short} ({count} B)"


def short_bytes(count: float) -> str:
    """Return a size in a binary unit, such as 1.5 MiB."""
    size, unit = float(count), 0
    while size >= _STEP and unit < len(_UNITS) - 1:
        size, unit = size / _STEP, unit + 1
    return f"{size:.0f} B" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"
