"""The option of the commands that start or install a server; beside them, no client of a server is loaded."""

from typing import Annotated

import typer


def _given(name: str | None) -> str | None:
    """Return the name; None where the option was left out. An empty one is a mistake, as of an unset variable."""
    if name == "":
        msg = "give a name such as vpn.example.com, or leave the option out"
        raise typer.BadParameter(msg)
    return name


Domain = Annotated[
    str | None,
    typer.Option(
        "--domain",
        metavar="NAME",
        callback=_given,
        help="This server's name or public address: a certificate is issued.",
    ),
]
