"""`vpnkeys nodes`: the nodes on which keys live."""

from typing import Annotated, Any, Literal

import typer

from vpnkeys.cli.arguments import Yes, is_name
from vpnkeys.cli.failures import kept_if_lost, wrong_usage
from vpnkeys.cli.output.operations import in_commands
from vpnkeys.cli.output.tables import human_bytes, short_bytes, table_of, table_of_fields
from vpnkeys.cli.remote import EXIT_CODES, Remote, asks_server
from vpnkeys.cli.values import to_second
from vpnkeys.client import Node, NodeMade

app = typer.Typer(name="nodes", no_args_is_help=True, help="Manage the nodes on which keys live.", epilog=EXIT_CODES)

_RIGHT_WITHIN_S = 2.0

NodeName = Annotated[str, typer.Argument(metavar="NODE", help="The node's id or name.", callback=is_name)]
Group = Annotated[str | None, typer.Option("--group", help="The group of nodes that it belongs to.")]
Address = Annotated[str | None, typer.Option("--address", help="The host in the links of its keys.")]
MaxKeys = Annotated[int | None, typer.Option("--max-keys", min=0, help="The most keys that it gets.")]
Weight = Annotated[int | None, typer.Option("--weight", min=0, help="How large its share of new keys is.")]


@app.command("list")
@asks_server
def list_nodes(remote: Remote) -> None:
    """List all nodes: how far each has followed the database, its keys and traffic, and when it was heard of."""
    nodes = remote.server.nodes.list()
    titles = (">ID", "Name", "Group", "State", ">Keys", ">Places", ">Traffic", "Follows", "Heard of", "Program", "Xray")
    remote.show([one.as_sent() for one in nodes], table_of(titles, map(_row, nodes)))


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
    _show_join(remote, made, f"Node {made.node.name} is made.")


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


@app.command("replace")
@asks_server
def replace(remote: Remote, node: NodeName) -> None:
    """Print the command by which a new machine takes a node's place, with all its links: once, within 15 minutes.

    Until then all stays as it is; from then on the former machine's agent opens nothing, and what that machine has not
    reported is not counted: end it there.
    """
    made = remote.server.nodes.replace(node)
    told = (
        f"Node {made.node.name} has not joined yet: this command joins it, and earlier ones do not any more."
        if made.node.state == "joining"
        else f"A new machine can take the place of node {made.node.name}, whose address is {made.node.address}."
    )
    _show_join(remote, made, told)


@app.command("move")
@asks_server
def move(
    remote: Remote,
    node: NodeName,
    *,
    to: Annotated[str | None, typer.Option("--to", help="Another node; else others of the group, by weight.")] = None,
    yes: Yes = False,
) -> None:
    """Move the keys of a node to another: their customers need the new links, which work at once.

    A node that is silent or lost is not waited for. Exit code 1 when some keys have stayed; a repeat goes on with them.
    """
    remote.confirm(f"Move all keys of node {node}? Their links change.", yes=yes)
    done = remote.server.nodes.move(node, to)
    rows = [(one.name, one.key_id, one.new.node, one.new.port, one.new.link) for one in done.moved]
    lines = [f"{len(done.moved)} keys moved, {len(done.failed)} have stayed"]
    lines += [f"{one.name} ({one.key_id}): {in_commands(one.detail)}" for one in done.failed]
    if done.moved and not done.has_stopped:
        lines.append(f"Old links end as soon as {node} is heard of again.")
    remote.show(done.as_sent(), table_of(("Name", "ID", "Node", ">Port", "New link"), rows), *lines)
    if done.failed:
        raise typer.Exit(1)


@app.command("rm")
@asks_server
def remove(remote: Remote, node: NodeName, *, yes: Yes = False) -> None:
    """Remove a node that has no keys, or one that is lost, with its keys."""
    remote.confirm(f"Remove node {node}?", yes=yes)
    done = remote.server.nodes.remove(node)
    remote.show(done.as_sent(), done.message)


def _given(**fields: Any) -> Any:  # noqa: ANN401 - options of several types, as the client's methods take them
    return {name: value for name, value in fields.items() if value is not None}


def _show_join(remote: Remote, made: NodeMade, told: str) -> None:
    with kept_if_lost(f"{told} `vpnkeys nodes replace {made.node.name}` prints another command for the new machine."):
        remote.show(
            made.as_sent(),
            f"{told} On the new machine, in a clone of vpnkeys, by {to_second(made.expires_at)}:",
            f"\n  {made.join_command.replace('vpnkeys agent join', 'sudo ./run --agent-join', 1)}\n",
            f"Or, without services: {made.join_command} && vpnkeys agent",
        )


def _show(remote: Remote, found: Node) -> None:
    fields = [
        ("Name", found.name),
        ("ID", found.id),
        ("Group", found.group),
        ("State", found.state),
        ("Address", found.address),
        ("Keys", found.keys),
        ("Places", found.places),
        ("Most keys", "as many as ports" if found.max_keys is None else found.max_keys),
        ("Weight", found.weight),
        ("Ports", found.port_range),
        ("Traffic of its keys", human_bytes(found.traffic_bytes)),
        ("Follows the database", _following(found)),
        ("Not as they should be", ", ".join(f"{key} ({code})" for key, code in found.failed.items()) or None),
        ("Last heard of", "never" if found.seen_at is None else to_second(found.seen_at)),
        ("Processor", None if found.cpu_share is None else f"{found.cpu_share:.0%} busy"),
        ("Clock", None if found.clock_ahead_s is None else _clock(found.clock_ahead_s)),
        ("Program", found.version),
        ("Xray", found.xray_version),
        ("Server names ready", found.names_ready),
        ("Public key", found.public_key),
    ]
    remote.show(found.as_sent(), table_of_fields(fields))


def _row(node: Node) -> tuple[object, ...]:
    heard = None if node.seen_at is None else to_second(node.seen_at)
    traffic, program = short_bytes(node.traffic_bytes), node.version or None
    what = (node.id, node.name, node.group, node.state, node.keys, node.places, traffic)
    return (*what, _following(node), heard, program, node.xray_version or None)


def _following(node: Node) -> str:
    return "yes" if node.applied == node.desired else f"no, for {node.lag_s:.0f} s"


def _clock(ahead_s: float) -> str:
    if abs(ahead_s) < _RIGHT_WITHIN_S:
        return "right"
    return f"{abs(ahead_s):.0f} s {'ahead' if ahead_s > 0 else 'behind'}"
