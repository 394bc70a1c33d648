"""`vpnkeys traffic`: the traffic of keys."""

import typer

from vpnkeys.cli.arguments import KeyId, Yes
from vpnkeys.cli.commands.collect import collect
from vpnkeys.cli.output.tables import human_bytes, table_of_fields
from vpnkeys.cli.output.usage import all_traffic, history_of_all
from vpnkeys.cli.remote import EXIT_CODES, Remote, asks_server
from vpnkeys.cli.values import to_second

app = typer.Typer(name="traffic", no_args_is_help=True, help="Show and reset the traffic of keys.", epilog=EXIT_CODES)
app.command("list")(all_traffic)
app.command("history")(history_of_all)
app.command("collect")(collect)


@app.command("show")
@asks_server
def show(remote: Remote, key_id: KeyId) -> None:
    """Show a key's traffic since it was made or last reset, counted now."""
    traffic = remote.server.keys.traffic(key_id)
    fields = [
        ("Key", traffic.key_id),
        ("Used", human_bytes(traffic.total_bytes)),
        ("In the window", _bytes(traffic.used_in_window_bytes)),
        ("Left", _bytes(traffic.remaining_bytes)),
        ("Begins anew", to_second(traffic.resets_at)),
        ("At", to_second(traffic.timestamp)),
        ("Uncounted", f"{len(traffic.gaps)} times Xray ended unexpectedly" if traffic.gaps else None),
    ]
    remote.show(traffic.as_sent(), table_of_fields(fields))


@app.command("reset")
@asks_server
def reset(remote: Remote, key_id: KeyId, *, yes: Yes = False) -> None:
    """Reset a key's total to zero."""
    remote.confirm("Reset the key's total to zero? What it has used so far cannot be shown again.", yes=yes)
    answer = remote.server.keys.reset_traffic(key_id)
    remote.show(answer.as_sent(), answer.message)


def _bytes(count: int | None) -> str | None:
    return None if count is None else human_bytes(count)
