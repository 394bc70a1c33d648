"""`vpnkeys webhooks`: who is told of events, and what came of telling them."""

from collections.abc import Iterable
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from vpnkeys.cli.output.tables import table_of_fields
from vpnkeys.cli.remote import EXIT_CODES, Session, asks_server, wrong_usage
from vpnkeys.client import Delivery, Webhook

app = typer.Typer(name="webhooks", no_args_is_help=True, help="Who is told of events.", epilog=EXIT_CODES)

_NOT_DELIVERED = 1

WebhookId = Annotated[str, typer.Argument(metavar="ID", help="The webhook's id.")]


@app.command("list")
@asks_server
def list_webhooks(session: Session) -> None:
    """All webhooks, oldest first."""
    webhooks = session.server.webhooks.list()
    rows = [(one.id, one.url, _events(one), _status(one)) for one in webhooks]
    session.tell([one.as_sent() for one in webhooks], _table(("ID", "URL", "Events", "Status"), rows))


@app.command("add")
@asks_server
def add(
    session: Session,
    address: Annotated[
        str, typer.Argument(metavar="URL", help="https:// anywhere, http:// to the server itself alone.")
    ],
    *,
    event: Annotated[
        list[str] | None, typer.Option("--event", help="Of what to tell, such as key.expired; may be repeated.")
    ] = None,
) -> None:
    """Make a webhook and print its secret, by which a receiver knows what is genuine. It cannot be shown again."""
    made = session.server.webhooks.create(address, event or ())
    fields = [("ID", made.id), ("URL", made.url), ("Events", _events(made)), ("Secret", made.secret)]
    session.tell(made.as_sent(), table_of_fields(fields))


@app.command("set")
@asks_server
def change(
    session: Session,
    webhook_id: WebhookId,
    *,
    to: Annotated[str | None, typer.Option("--to", metavar="URL", help="Send to this address instead.")] = None,
    event: Annotated[
        list[str] | None, typer.Option("--event", help="Of what to tell from now on; may be repeated.")
    ] = None,
    active: Annotated[bool | None, typer.Option("--active/--inactive", help="Switch it on or off.")] = None,
) -> None:
    """Change a webhook; what is not given stays as it is, and so does the secret."""
    if to is None and not event and active is None:
        wrong_usage("give what to change, such as --to or --inactive")
    changed = session.server.webhooks.change(webhook_id, url=to, events=event or None, is_active=active)
    fields = [("ID", changed.id), ("URL", changed.url), ("Events", _events(changed)), ("Status", _status(changed))]
    session.tell(changed.as_sent(), table_of_fields(fields))


@app.command("rm")
@asks_server
def remove(session: Session, webhook_id: WebhookId) -> None:
    """Remove a webhook, with all that it has still to be told."""
    done = session.server.webhooks.delete(webhook_id)
    session.tell(done.as_sent(), done.message)


@app.command("test")
@asks_server
def test(session: Session, webhook_id: WebhookId) -> None:
    """Send a ping now. One that does not arrive ends this with 1."""
    tried = session.server.webhooks.test(webhook_id)
    fields = [
        ("Arrived", "yes" if tried.delivered else "no"),
        ("Answer", None if tried.status is None else f"HTTP {tried.status}"),
        ("Trouble", tried.last_error),
    ]
    session.tell(tried.as_sent(), table_of_fields(fields))
    if not tried.delivered:
        raise typer.Exit(_NOT_DELIVERED)


@app.command("deliveries")
@asks_server
def deliveries(session: Session, webhook_id: WebhookId) -> None:
    """What a webhook was told and has still to be told, newest first."""
    found = session.server.webhooks.deliveries(webhook_id)
    rows = [(f"{one.created_at:%Y-%m-%d %H:%M:%S}", one.event, str(one.attempts), _fate(one)) for one in found]
    session.tell([one.as_sent() for one in found], _table(("At (UTC)", "Event", "Tries", "Fate"), rows))


def _events(webhook: Webhook) -> str:
    return ", ".join(webhook.events) or "all"


def _status(webhook: Webhook) -> str:
    return "active" if webhook.is_active else "off"


def _fate(delivery: Delivery) -> str:
    if delivery.delivered_at is not None:
        return f"delivered {delivery.delivered_at:%Y-%m-%d %H:%M:%S}"
    why = f": {delivery.last_error}" if delivery.last_error else ""
    if delivery.next_try_at is None:
        return f"given up{why}"
    return f"next try {delivery.next_try_at:%Y-%m-%d %H:%M:%S}{why}"


def _table(titles: Iterable[str], rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
