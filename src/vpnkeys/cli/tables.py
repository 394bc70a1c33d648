"""Answers as tables for people. Nothing is cut off: what does not fit is folded."""

from collections.abc import Iterable

from rich import box
from rich.table import Table
from rich.text import Text

from vpnkeys.client import Key

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_STEP = 1024


def table_of_keys(keys: Iterable[Key]) -> Table:
    """One line a key."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in ("ID", "Name", "Status", "Port", "SNI", "Made (UTC)"):
        table.add_column(title, overflow="fold", justify="right" if title == "Port" else "left")
    for key in keys:
        made = f"{key.created_at:%Y-%m-%d %H:%M}"
        table.add_row(key.id, Text(key.name), status_of(key), str(key.port), key.sni or "", made)
    return table


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
            table.add_row(title, Text(str(value)))
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
        ("Made (UTC)", f"{key.created_at:%Y-%m-%d %H:%M:%S}"),
        ("Status", status_of(key)),
        ("Expires (UTC)", None if key.expires_at is None else f"{key.expires_at:%Y-%m-%d %H:%M:%S}"),
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
    size, unit = float(count), 0
    while size >= _STEP and unit < len(_UNITS) - 1:
        size, unit = size / _STEP, unit + 1
    return f"{count} B" if unit == 0 else f"{size:.1f} {_UNITS[unit]} ({count} B)"
