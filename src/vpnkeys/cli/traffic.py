"""`vpnkeys traffic`: how much a key has used."""

from typing import Annotated

import typer

from vpnkeys.cli.collecting import collect
from vpnkeys.cli.remote import EXIT_CODES, Session, asks_server
from vpnkeys.cli.tables import human_bytes, table_of_fields

app = typer.Typer(name="traffic", no_args_is_help=True, help="How much a key has used.", epilog=EXIT_CODES)
app.command("collect")(collect)

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id or its UUID.")]


@app.command("show")
@asks_server
def show(session: Session, key_id: KeyId) -> None:
    """What a key has used since it was made or last reset, counted now."""
    traffic = session.server.keys.traffic(key_id)
    fields = [
        ("Key", traffic.key_id),
        ("Used", human_bytes(traffic.total_bytes)),
        ("At (UTC)", f"{traffic.timestamp:%Y-%m-%d %H:%M:%S}"),
        ("Uncounted", f"{len(traffic.gaps)} times Xray ended unexpectedly" if traffic.gaps else None),
    ]
    session.tell(traffic.as_sent(), table_of_fields(fields))


@app.command("reset")
@asks_server
def reset(session: Session, key_id: KeyId) -> None:
    """Let a key's total start again from zero."""
    answer = session.server.keys.reset_traffic(key_id)
    session.tell(answer.as_sent(), answer.message)
