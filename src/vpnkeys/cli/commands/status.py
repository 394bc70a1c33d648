"""`vpnkeys status`: the health of the server."""

from datetime import timedelta

import typer

from vpnkeys.cli.output.tables import table_of_fields
from vpnkeys.cli.remote import Remote, asks_server
from vpnkeys.client import Unavailable

_UNHEALTHY = 3


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
        *((name.capitalize(), state) for name, state in health.services.items()),
        ("Keys", keys_count),
        ("Server names ready", health.server_names_ready),
        ("Cutting connections", health.connection_cut),
        ("Up for", uptime),
        ("Version", health.service_version),
    ]
    remote.show({**health.as_sent(), "keys_count": keys_count}, table_of_fields(fields))
    if health.status == "unhealthy":
        raise typer.Exit(_UNHEALTHY)
