"""Repairs: what would be done is shown first, and whoever sits at a terminal is asked."""

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.console import RenderableType

from vpnkeys.cli.arguments import Yes
from vpnkeys.cli.output.tables import table_of, table_of_fields
from vpnkeys.cli.remote import Session, asks_server
from vpnkeys.client import Move, PlannedInbound, PortsPlan, SyncPlan, TargetState

_RESTART = "Xray is started anew: open connections end once, and come back."


@asks_server
def sync(
    session: Session,
    *,
    restart: Annotated[
        bool, typer.Option("--restart", help="And restart Xray: everybody is disconnected for a moment.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Bring config.json and the running Xray to what the database says; who needs no repair notices nothing."""
    system = session.server.system
    _approve_sync(session, restarts=restart, yes=yes)
    with session.busy("Restarting Xray" if restart else "Synchronizing"):
        answer = system.xray_sync_config() if restart else system.sync_config()
    session.tell(answer.as_sent(), answer.message)


@asks_server
def fix_reality_keys(session: Session, *, yes: Yes = False) -> None:
    """Put the stored REALITY key pair back into config.json and restart Xray."""
    _approve_sync(session, restarts=True, yes=yes)
    with session.busy("Restarting Xray"):
        answer = session.server.system.fix_reality_keys()
    session.tell(answer.as_sent(), answer.message)


@asks_server
def verify_reality(session: Session, *, yes: Yes = False) -> None:
    """Compare every REALITY setting with the database, repair what differs, and look at every target."""
    _approve_sync(session, restarts=False, yes=yes)
    with session.busy("Looking at every target"):
        answer = session.server.system.verify_reality()
    session.tell(answer.as_sent(), answer.message, *(f"warning: {line}" for line in answer.warnings))


@asks_server
def reset_ports(session: Session, *, yes: Yes = False) -> None:
    """Hand out all ports again from the lowest. Keys that get another one need a new link: the old one is dead."""
    planned = session.server.system.ports_plan()
    session.show_people(*_ports_plan(planned))
    if planned.changed:
        session.confirm(f"{len(planned.changed)} links will stop working. Go on?", yes=yes)
    with session.busy("Handing out ports"):
        answer = session.server.system.reset_ports()
    session.tell(answer.as_sent(), answer.message, *([_table_of_moves(answer.changed)] if answer.changed else []))


@asks_server
def plan(session: Session) -> None:
    """What `vpnkeys sync` would do now; nothing is changed."""
    found = session.server.system.plan()
    session.tell(found.as_sent(), *_sync_plan(found, restarts=False))


@asks_server
def ports_plan(session: Session) -> None:
    """Which keys would get other ports by ports-reset; nothing is changed."""
    found = session.server.system.ports_plan()
    session.tell(found.as_sent(), *_ports_plan(found))


def table_of_targets(targets: tuple[TargetState, ...]) -> RenderableType:
    """One line a target."""
    rows = [
        (one.server_name, one.target, "usable" if one.usable else "unfit", "; ".join((*one.problems, *one.warnings)))
        for one in targets
    ]
    return table_of(("Server name", "Target", "Status", "What is wrong"), rows)


def _approve_sync(session: Session, *, restarts: bool, yes: bool) -> None:
    """Nobody is asked about what changes nothing."""
    found = session.server.system.plan()
    session.show_people(*_sync_plan(found, restarts=restarts))
    if restarts or not found.in_sync:
        session.confirm("Go on?", yes=yes)


def _sync_plan(found: SyncPlan, *, restarts: bool) -> Iterator[RenderableType]:
    if found.in_sync:
        yield "Database, config.json and Xray agree."
    else:
        yield table_of_fields(
            [
                ("config.json", "is rewritten" if found.file.rewrite else "stays"),
                ("Unreadable", found.file.problem or None),
                ("Xray", None if found.running else "does not answer"),
                ("Cut", f"open connections on {', '.join(map(str, found.cut))}" if found.cut else None),
            ]
        )
        rows = [(verb, one.tag, one.port, one.key_id) for verb, one in _inbounds(found)]
        if rows:
            yield table_of(("", "Inbound", ">Port", "Key"), rows)
    if restarts:
        yield _RESTART


def _inbounds(found: SyncPlan) -> Iterator[tuple[str, PlannedInbound]]:
    yield from (("remove", one) for one in found.remove)
    yield from (("add", one) for one in found.add)


def _ports_plan(found: PortsPlan) -> Iterator[RenderableType]:
    yield _table_of_moves(found.changed) if found.changed else "Every key keeps its port."


def _table_of_moves(moves: Iterable[Move]) -> RenderableType:
    rows = [(one.key_id, one.name, one.old_port, one.new_port) for one in moves]
    return table_of(("ID", "Name", ">Old port", ">New port"), rows)
