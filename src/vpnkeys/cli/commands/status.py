"""`vpnkeys status`: how the server is."""

from datetime import timedelta

import typer

from vpnkeys.cli.output.tables import table_of_fields
from vpnkeys.cli.remote import Session, asks_server
from vpnkeys.client import Unavailable

_UNHEALTHY = 3


@asks_server
def status(session: Session) -> None:
    """How the server is, and how many keys it has. An unhealthy one ends this with 3."""
    health = session.server.health()
    try:
        keys_count = len(session.server.keys.list())
    except Unavailable:
        keys_count = None
    uptime = None if health.uptime_seconds is None else timedelta(seconds=int(health.uptime_seconds))
    fields = [
        ("Status", health.status),
        *((name.capitalize(), state) for name, state in health.services.items()),
        ("Keys", keys_count),
        ("Server names that work", health.server_names_ready),
        ("Cutting connections", health.connection_cut),
        ("Up for", uptime),
        ("Version", health.service_version),
    ]
    session.tell({**health.as_sent(), "keys_count": keys_count}, table_of_fields(fields))
    if health.status == "unhealthy":
        raise typer.Exit(_UNHEALTHY)
