"""`vpnkeys traffic`: how much keys have used."""

import typer

from vpnkeys.cli.arguments import KeyId
from vpnkeys.cli.commands.collect import collect
from vpnkeys.cli.output.tables import human_bytes, table_of_fields, to_second
from vpnkeys.cli.output.usage import all_traffic, history_of_all
from vpnkeys.cli.remote import EXIT_CODES, Session, asks_server

app = typer.Typer(name="traffic", no_args_is_help=True, help="How much keys have used.", epilog=EXIT_CODES)
app.command("list")(all_traffic)
app.command("history")(history_of_all)
app.command("collect")(collect)


@app.command("show")
@asks_server
def show(session: Session, key_id: KeyId) -> None:
    """What a key has used since it was made or last reset, counted now."""
    traffic = session.server.keys.traffic(key_id)
    fields = [
        ("Key", traffic.key_id),
        ("Used", human_bytes(traffic.total_bytes)),
        ("At (UTC)", to_second(traffic.timestamp)),
        ("Uncounted", f"{len(traffic.gaps)} times Xray ended unexpectedly" if traffic.gaps else None),
    ]
    session.tell(traffic.as_sent(), table_of_fields(fields))


@app.command("reset")
@asks_server
def reset(session: Session, key_id: KeyId) -> None:
    """Let a key's total start again from zero."""
    answer = session.server.keys.reset_traffic(key_id)
    session.tell(answer.as_sent(), answer.message)
