"""`/api/webhooks`: who is told of events, and what came of telling them."""

from typing import Annotated

from fastapi import APIRouter, Path

from vpnkeys.api.deps import ServerDep, administering
from vpnkeys.api.problems import problems
from vpnkeys.domain import webhook as known
from vpnkeys.domain.event import Kind
from vpnkeys.service.webhooks import Change, Trial
from vpnkeys.wire.webhooks import (
    Delivery,
    NewWebhook,
    Webhook,
    WebhookChange,
    WebhookDeleted,
    WebhookMade,
    WebhookTried,
)

router = APIRouter(
    prefix="/api/webhooks",
    tags=["webhooks"],
    dependencies=[administering],
    responses=problems(400, 401, 404, 429, 500, 503),
)

WebhookId = Annotated[str, Path(description="the webhook's id")]


@router.get("")
async def list_webhooks(server: ServerDep) -> list[Webhook]:
    """All webhooks, oldest first."""
    return [_answer(webhook) for webhook in server.webhooks.list()]


@router.post("")
def create_webhook(new: NewWebhook, server: ServerDep) -> WebhookMade:
    """Make a webhook. Its secret is in this answer and nowhere else."""
    made = server.webhooks.create(new.url, [Kind(kind) for kind in new.events])
    return WebhookMade(secret=made.secret, **_answer(made).model_dump())


@router.patch("/{webhook_id}")
def change_webhook(webhook_id: WebhookId, change: WebhookChange, server: ServerDep) -> Webhook:
    """Change a webhook. What it has still to be told is tried again at once."""
    events = None if change.events is None else [Kind(kind) for kind in change.events]
    return _answer(server.webhooks.change(webhook_id, Change(change.url, events, change.is_active)))


@router.delete("/{webhook_id}")
def delete_webhook(webhook_id: WebhookId, server: ServerDep) -> WebhookDeleted:
    """Remove a webhook, with all that it has still to be told."""
    server.webhooks.delete(webhook_id)
    return WebhookDeleted(message="Webhook deleted successfully")


@router.post("/{webhook_id}/test")
async def test_webhook(webhook_id: WebhookId, server: ServerDep) -> WebhookTried:
    """Send a `ping` now, and wait for what the receiver says, ten seconds at most."""
    return _trial_answer(await server.webhooks.test(webhook_id))


@router.get("/{webhook_id}/deliveries")
def list_deliveries(webhook_id: WebhookId, server: ServerDep) -> list[Delivery]:
    """What the webhook was told and has still to be told, the newest hundred, newest first."""
    return [_delivery_answer(delivery) for delivery in server.webhooks.deliveries(webhook_id)]


def _answer(webhook: known.Webhook) -> Webhook:
    """Return a webhook as the API shows it: without its secret."""
    return Webhook(
        id=webhook.id,
        url=webhook.url,
        events=tuple(webhook.events),
        is_active=webhook.is_active,
        created_at=webhook.created_at,
    )


def _trial_answer(trial: Trial) -> WebhookTried:
    return WebhookTried(
        event_id=trial.event_id,
        delivered=trial.answer.is_success,
        status=trial.answer.status,
        last_error=trial.answer.trouble or None,
        duration_ms=round(trial.took_s * 1000, 1),
    )


def _delivery_answer(delivery: known.Delivery) -> Delivery:
    return Delivery(
        id=delivery.event_id,
        event=delivery.event,
        created_at=delivery.created_at,
        attempts=delivery.attempts,
        delivered_at=delivery.delivered_at,
        next_try_at=delivery.next_try_at,
        last_error=delivery.last_error or None,
    )
