"""`vpnkeys import doors` and `vpnkeys import close-door`: old inbounds that stay until they are closed."""

from typing import Annotated

import typer

from vpnkeys.cli.arguments import Yes
from vpnkeys.cli.output.tables import table_of
from vpnkeys.cli.remote import Remote, asks_server


@asks_server
def list_doors(remote: Remote) -> None:
    """List the doors of --keep-old-links, with how many keys' old links work by each."""
    doors = remote.server.doors.list()
    rows = [(one.tag, one.port, f"{one.keys} of {one.imported_keys}", one.state, one.problem) for one in doors]
    remote.show([one.as_sent() for one in doors], table_of(("Tag", ">Port", ">Keys", "State", "Problem"), rows))


@asks_server
def close_door(
    remote: Remote,
    tag: Annotated[str, typer.Argument(metavar="TAG", help="The door's tag, of `vpnkeys import doors`.")],
    *,
    yes: Yes = False,
) -> None:
    """Close a door: its old links work no more, and their connections are cut. The keys' own links go on."""
    remote.confirm(f"Close {tag}? Customers who still have the old link lose access at once.", yes=yes)
    closed = remote.server.doors.remove(tag)
    remote.show(closed.as_sent(), f"{closed.message}.")
