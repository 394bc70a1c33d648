"""`vpnkeys nodes`: the nodes on which keys live."""

from typing import Annotated, Any, Literal

import typer

from vpnkeys.cli.arguments import Yes, is_name
from vpnkeys.cli.output.tables import table_of, table_of_fields
from vpnkeys.cli.remote import EXIT_CODES, Remote, asks_server, wrong_usage
from vpnkeys.cli.values import to_second
from vpnkeys.client import Node

app = typer.Typer(name="nodes", no_args_is_help=True, help="Manage the nodes on which keys live.", epilog=EXIT_CODES)

NodeName = Annotated[str, typer.Argument(metavar="NODE", help="The node's id or name.", callback=is_name)]
Group = Annotated[str | None, typer.Option("--group", help="The group of nodes that it belongs to.")]
Address = Annotated[str | None, typer.Option("--address", help="The host in the links of its keys.")]
MaxKeys = Annotated[int | None, typer.Option("--max-keys", min=0, help="The most keys that it gets.")]
Weight = Annotated[int | None, typer.Option("--weight", min=0, help="How large its share of new keys is.")]


@app.command("list")
@asks_server
def list_nodes(remote: Remote) -> None:
    """List all nodes, with how far each has followed the database."""
    nodes = remote.server.nodes.list()
    rows = [
        (one.id, one.name, one.group, one.state, one.keys, one.port_range, _following(one), one.xray_version)
        for one in nodes
    ]
    titles = (">ID", "Name", "Group", "State", ">Keys", "Ports", "Follows the database", "Xray")
    remote.show([one.as_sent() for one in nodes], table_of(titles, rows))


@app.command("show")
@asks_server
def show(
    remote: Remote,
    node: NodeName,
) -> None:
    """Show one node."""
    _show(remote, remote.server.nodes.get(node))


@app.command("add")
@asks_server
def add(  # noqa: PLR0913 - one for each option
    remote: Remote,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.")],
    *,
    group: Group = None,
    address: Address = None,
    port_range: Annotated[str | None, typer.Option("--port-range", help="Its ports, such as 10001-10100.")] = None,
    max_keys: MaxKeys = None,
    weight: Weight = None,
) -> None:
    """Make a node, and print the command by which a new machine becomes it: once, within 15 minutes."""
    given = _given(group=group, address=address, port_range=port_range, max_keys=max_keys, weight=weight)
    made = remote.server.nodes.add(name, **given)
    remote.show(
        made.as_sent(),
        f"Node {made.node.name} is made. On the new machine, by {to_second(made.expires_at)}:",
        f"\n  {made.join_command}\n  vpnkeys agent\n",
    )


@app.command("set")
@asks_server
def change(  # noqa: PLR0913 - one for each option
    remote: Remote,
    node: NodeName,
    *,
    name: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    group: Group = None,
    address: Address = None,
    max_keys: MaxKeys = None,
    weight: Weight = None,
    state: Annotated[
        str | None, typer.Option("--state", help="up; drained: no new keys; lost: given up, nothing waits for it.")
    ] = None,
) -> None:
    """Change a node; what is not given stays."""
    given = _given(name=name, group=group, address=address, max_keys=max_keys, weight=weight, state=state)
    if not given:
        wrong_usage("give what to change, such as --weight 2 or --state drained")
    _show(remote, remote.server.nodes.change(node, **given))


@app.command("drain")
@asks_server
def drain(remote: Remote, node: NodeName) -> None:
    """Let a node get no more keys; those that it has stay. `nodes set NODE --state up` ends that."""
    drained: Literal["drained"] = "drained"
    _show(remote, remote.server.nodes.change(node, state=drained))


@app.command("rm")
@asks_server
def remove(remote: Remote, node: NodeName, *, yes: Yes = False) -> None:
    """Remove a node that has no keys, or one that is lost, with its keys."""
    remote.confirm(f"Remove node {node}?", yes=yes)
    done = remote.server.nodes.remove(node)
    remote.show(done.as_sent(), done.message)


def _given(**fields: Any) -> Any:  # noqa: ANN401 - options of several types, as the client's methods take them
    return {name: value for name, value in fields.items() if value is not None}


def _show(remote: Remote, found: Node) -> None:
    fields = [
        ("Name", found.name),
        ("ID", found.id),
        ("Group", found.group),
        ("State", found.state),
        ("Address", found.address),
        ("Keys", found.keys),
        ("Most keys", "as many as ports" if found.max_keys is None else found.max_keys),
        ("Weight", found.weight),
        ("Ports", found.port_range),
        ("Follows the database", _following(found)),
        ("Last heard of", "never" if found.seen_at is None else to_second(found.seen_at)),
        ("Program", found.version),
        ("Xray", found.xray_version),
        ("Server names ready", found.names_ready),
        ("Public key", found.public_key),
    ]
    remote.show(found.as_sent(), table_of_fields(fields))


def _following(node: Node) -> str:
    return "yes" if node.applied == node.desired else f"no, for {node.lag_s:.0f} s"
