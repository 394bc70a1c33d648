"""`vpnkeys import`: imports keys from another installation or panel."""

import typer

from vpnkeys.cli.commands.imports.doors import close_door, list_doors
from vpnkeys.cli.commands.imports.legacy import legacy
from vpnkeys.cli.commands.imports.panels import marzban, three_x_ui

app = typer.Typer(name="import", help="Import keys from another installation or panel.", no_args_is_help=True)
app.command("legacy")(legacy)
app.command("3x-ui")(three_x_ui)
app.command("marzban")(marzban)
app.command("doors")(list_doors)
app.command("close-door")(close_door)


@app.callback()
def group() -> None:
    """Import keys from another installation or panel."""
