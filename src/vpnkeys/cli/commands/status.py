"""`vpnkeys status` and `vpnkeys metrics`: the health of the server, for people and for Prometheus."""

import math
from datetime import timedelta

import typer

from vpnkeys.cli.output.plain import plain_lines
from vpnkeys.cli.output.tables import table_of_fields
from vpnkeys.cli.remote import Remote, asks_server
from vpnkeys.client import Unavailable, UnexpectedAnswer

_UNHEALTHY = 3
_SERVICES = {"api": "API", "xray": "Xray", "database": "Database"}


@asks_server
def status(remote: Remote) -> None:
    """Show the server's health and the number of keys. The exit code is 3 when it is unhealthy."""
    health = remote.server.health()
    try:
        keys_count = len(remote.server.keys.list())
    except Unavailable:  # without a database there are no keys, but the health is worth showing
        keys_count = None
    uptime = None if health.uptime_seconds is None else timedelta(seconds=int(health.uptime_seconds))
    fields = [
        ("Status", health.status),
        *(("Problem", f"{problem.code}: {problem.detail}") for problem in health.problems),
        *((_SERVICES.get(name, name), state) for name, state in health.services.items()),
        ("Keys", keys_count),
        ("Server names ready", health.server_names_ready),
        ("Cutting connections", health.connection_cut),
        ("Up for", uptime),
        ("Version", health.service_version),
    ]
    remote.show({**health.as_sent(), "keys_count": keys_count}, table_of_fields(fields))
    if health.status == "unhealthy":
        raise typer.Exit(_UNHEALTHY)


@asks_server
def metrics(remote: Remote) -> None:
    """Print the current metrics in Prometheus' text format, or with --json as a list of name, labels and value."""
    text = remote.server.metrics()
    if not remote.as_json:
        print(plain_lines(text), end="")
        return
    # Imported here because it takes long, and only --json needs it.
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415

    try:
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except ValueError as error:
        detail = "The server's answer is not in Prometheus' text format."
        raise UnexpectedAnswer(None, "unexpected_answer", detail) from error
    remote.show([{"name": one.name, "labels": one.labels, "value": _number(one.value)} for one in samples])


def _number(value: float) -> float | str:
    """Return the value, as text when JSON has no number for it: infinity and NaN."""
    return value if math.isfinite(value) else str(value)
