"""The commands that print the traffic of keys."""

from collections.abc import Iterable
from datetime import datetime

from rich.table import Table

from vpnkeys.cli.arguments import KeyId, Since, StepOption, Until, span_of
from vpnkeys.cli.names import short_ids
from vpnkeys.cli.output.tables import short_bytes, table_of, table_of_fields, yes_or_no
from vpnkeys.cli.remote import Remote, asks_server
from vpnkeys.cli.values import to_minute, to_second
from vpnkeys.client import TrafficPoint
from vpnkeys.domain.traffic import Step


@asks_server
def key_history(
    remote: Remote, key_id: KeyId, *, since: Since = None, until: Until = None, step: StepOption = Step.HOUR
) -> None:
    """Show a key's traffic by hour or day, without the hours or days that have none."""
    history = remote.server.keys.history(key_id, *span_of(since, until), step.value)
    remote.show(history.as_sent(), *_history(history.since, history.until, history.points))


@asks_server
def history_of_all(remote: Remote, *, since: Since = None, until: Until = None, step: StepOption = Step.HOUR) -> None:
    """Show the traffic of all keys together by hour or day, without the hours or days that have none."""
    history = remote.server.traffic.history(*span_of(since, until), step.value)
    remote.show(history.as_sent(), *_history(history.since, history.until, history.points))


@asks_server
def online(remote: Remote, key_id: KeyId) -> None:
    """Show whether a key is in use now, from how many devices, and when it was last used."""
    found = remote.server.keys.online(key_id)
    fields = [
        ("Online", yes_or_no(found.online)),
        ("Devices", found.devices),
        ("Last seen", to_second(found.last_seen)),
    ]
    remote.show(found.as_sent(), table_of_fields(fields))


@asks_server
def all_traffic(remote: Remote) -> None:
    """Show each key's total and the number of devices online, the highest total first."""
    traffic = remote.server.traffic.now()
    names = {key.id: key.name for key in remote.server.keys.list()}  # the traffic has ids only
    keys = sorted(traffic.keys, key=lambda one: -one.total_bytes)
    rows = [
        (short, names.get(one.key_id), short_bytes(one.total_bytes), one.devices, to_minute(one.last_seen))
        for short, one in zip(short_ids([one.key_id for one in keys]), keys, strict=True)
    ]
    table = table_of(("ID", "Name", ">Used", ">Online", "Last seen"), rows)
    remote.show(traffic.as_sent(), table, f"All: {short_bytes(traffic.total_bytes)}")


def _history(since: datetime, until: datetime, points: Iterable[TrafficPoint]) -> tuple[Table, str]:
    points = tuple(points)
    up, down = sum(point.up_bytes for point in points), sum(point.down_bytes for point in points)
    rows = [
        (
            to_minute(point.time),
            *map(short_bytes, (point.up_bytes, point.down_bytes, point.up_bytes + point.down_bytes)),
        )
        for point in points
    ]
    span = f"From {to_minute(since)} to {to_minute(until)}"
    table = table_of(("Since", ">Up", ">Down"), rows)
    return table, f"{span}: {short_bytes(up)} up, {short_bytes(down)} down"
