"""`vpnkeys webhooks`: the receivers of events, and the deliveries to them."""

from typing import Annotated

import typer

from vpnkeys.cli.arguments import Yes
from vpnkeys.cli.failures import kept_if_lost, wrong_usage
from vpnkeys.cli.output.tables import table_of, table_of_fields
from vpnkeys.cli.remote import EXIT_CODES, Remote, asks_server
from vpnkeys.cli.values import to_second
from vpnkeys.client import Delivery, Webhook

app = typer.Typer(
    name="webhooks", no_args_is_help=True, help="Manage webhooks, which receive events.", epilog=EXIT_CODES
)

_NOT_DELIVERED = 1

WebhookId = Annotated[str, typer.Argument(metavar="ID", help="The webhook's id.")]


@app.command("list")
@asks_server
def list_webhooks(remote: Remote) -> None:
    """List all webhooks, oldest first."""
    webhooks = remote.server.webhooks.list()
    rows = [(one.id, one.url, _events(one), _status(one)) for one in webhooks]
    remote.show([one.as_sent() for one in webhooks], table_of(("ID", "URL", "Events", "Status"), rows))


@app.command("add")
@asks_server
def add(
    remote: Remote,
    address: Annotated[
        str, typer.Argument(metavar="URL", help="https:// to any host; http:// only to the server itself.")
    ],
    *,
    event: Annotated[
        list[str] | None, typer.Option("--event", help="Send only this event, such as key.expired; may be repeated.")
    ] = None,
) -> None:
    """Make a webhook and print its secret, with which the receiver checks signatures. It cannot be shown again."""
    made = remote.server.webhooks.create(address, event or ())
    fields = [("ID", made.id), ("URL", made.url), ("Events", _events(made)), ("Secret", made.secret)]
    again = f"remove it (`vpnkeys webhooks rm {made.id}`) and make another"
    with kept_if_lost(f"The webhook is made, and its secret cannot be shown again: {again}."):
        remote.show(made.as_sent(), table_of_fields(fields))


@app.command("set")
@asks_server
def change(
    remote: Remote,
    webhook_id: WebhookId,
    *,
    to: Annotated[str | None, typer.Option("--to", metavar="URL", help="Send to this URL instead.")] = None,
    event: Annotated[
        list[str] | None, typer.Option("--event", help="Send only this event from now on; may be repeated.")
    ] = None,
    active: Annotated[bool | None, typer.Option("--active/--inactive", help="Switch it on or off.")] = None,
) -> None:
    """Change a webhook. What is not given stays, and the secret stays the same."""
    if to is None and not event and active is None:
        wrong_usage("give what to change, such as --to or --inactive")
    changed = remote.server.webhooks.change(webhook_id, url=to, events=event or None, is_active=active)
    fields = [("ID", changed.id), ("URL", changed.url), ("Events", _events(changed)), ("Status", _status(changed))]
    remote.show(changed.as_sent(), table_of_fields(fields))


@app.command("rm")
@asks_server
def remove(remote: Remote, webhook_id: WebhookId, *, yes: Yes = False) -> None:
    """Remove a webhook and its pending deliveries."""
    remote.confirm("Remove this webhook? Events that its receiver has not got yet are dropped.", yes=yes)
    done = remote.server.webhooks.delete(webhook_id)
    remote.show(done.as_sent(), done.message)


@app.command("test")
@asks_server
def test(remote: Remote, webhook_id: WebhookId) -> None:
    """Send a test event now. The exit code is 1 when it does not arrive."""
    tried = remote.server.webhooks.test(webhook_id)
    fields = [
        ("Arrived", "yes" if tried.delivered else "no"),
        ("Answer", None if tried.status is None else f"HTTP {tried.status}"),
        ("Error", tried.last_error),
    ]
    remote.show(tried.as_sent(), table_of_fields(fields))
    if not tried.delivered:
        raise typer.Exit(_NOT_DELIVERED)


@app.command("deliveries")
@asks_server
def deliveries(remote: Remote, webhook_id: WebhookId) -> None:
    """List the deliveries to a webhook, pending ones included, newest first."""
    found = remote.server.webhooks.deliveries(webhook_id)
    rows = [(to_second(one.created_at), one.event, one.attempts, _state(one)) for one in found]
    remote.show([one.as_sent() for one in found], table_of(("At", "Event", ">Tries", "State"), rows))


def _events(webhook: Webhook) -> str:
    return ", ".join(webhook.events) or "all"


def _status(webhook: Webhook) -> str:
    return "active" if webhook.is_active else "off"


def _state(delivery: Delivery) -> str:
    if delivery.delivered_at is not None:
        return f"delivered {to_second(delivery.delivered_at)}"
    why = f": {delivery.last_error}" if delivery.last_error else ""
    if delivery.next_try_at is None:
        return f"given up{why}"
    return f"next try {to_second(delivery.next_try_at)}{why}"
