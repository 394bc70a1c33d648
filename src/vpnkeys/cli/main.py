"""The commands, and what they have in common."""

import typer

from vpnkeys import __version__
from vpnkeys.cli.serve import serve

app = typer.Typer(name="vpnkeys", no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False)
app.command("serve")(serve)


@app.command("version")
def version() -> None:
    """The version of vpnkeys."""
    print(__version__)


def main() -> None:
    """The entry point."""
    app()
