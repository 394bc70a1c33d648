"""The option of the commands that start or install a server; beside them, no client of a server is loaded."""

from typing import Annotated

import typer

Domain = Annotated[
    str, typer.Option("--domain", metavar="NAME", help="This server's name or public address: a certificate is issued.")
]
