"""Answers as tables for people. Nothing is cut off: what does not fit is folded."""

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
    """One line a row; None is an empty cell. A title that begins with `>` is that of a column of numbers."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in titles:
        table.add_column(title.lstrip(">"), overflow="fold", justify="right" if title.startswith(">") else "left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: object) -> Text:
    return Text("" if value is None else plain(str(value)))


def table_of_keys(keys: Iterable[Key]) -> Table:
    """One line a key."""
    rows = ((key.id, key.name, status_of(key), key.port, key.sni, to_minute(key.created_at)) for key in keys)
    return table_of(("ID", "Name", "Status", ">Port", "SNI", "Made (UTC)"), rows)


def to_minute(moment: datetime | None) -> str | None:
    """A moment for people."""
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def to_second(moment: datetime | None) -> str | None:
    """A moment for people who compare it with a log."""
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def yes_or_no(value: bool) -> str:
    """For people."""
    return "yes" if value else "no"


def status_of(key: Key) -> str:
    """Whether a key works, and if not, why; servers without limits know only whether it is switched on."""
    return key.status or ("active" if key.is_active else "disabled")


def table_of_fields(fields: Iterable[tuple[str, object]]) -> Table:
    """One line a field; those without a value are left out."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for title, value in fields:
        if value is not None:
            table.add_row(title, Text(plain_lines(str(value))))
    return table


def key_fields(key: Key) -> list[tuple[str, object]]:
    """A key's fields, in the order in which people look for them."""
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
        ("Note", key.note or None),
    ]


def _traffic_limit(key: Key) -> str | None:
    if key.traffic_limit_bytes is None:
        return None
    return f"{human_bytes(key.traffic_limit_bytes)}, {key.traffic_limit_window or 'total'}"


def human_bytes(count: int) -> str:
    """A size that a person can grasp, and the exact one behind it."""
    short = short_bytes(count)
    return short if short.endswith(" B") else f"{short} ({count} B)"


def short_bytes(count: float) -> str:
    """A size that a person can grasp, in powers of 1024."""
    size, unit = float(count), 0
    while size >= _STEP and unit < len(_UNITS) - 1:
        size, unit = size / _STEP, unit + 1
    return f"{size:.0f} B" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"
