"""Serves `/api/webhooks`: makes, changes and deletes webhooks, and shows what was delivered."""

from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator

from vpnkeys.api.auth.access import requires
from vpnkeys.api.deps import WebhooksDep
from vpnkeys.api.problems import problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.domain import webhook as known
from vpnkeys.domain.event import Kind
from vpnkeys.domain.token import Scope
from vpnkeys.service.webhooks import Change, WebhookTest
from vpnkeys.wire.webhooks import (
    Delivery,
    NewWebhook,
    Webhook,
    WebhookChange,
    WebhookDeleted,
    WebhookMade,
    WebhookTried,
)

router = ApiRouter(
    prefix="/api/webhooks",
    tags=["webhooks"],
    responses=problems(400, 401, 404, 429, 500, 503),
)

WebhookId = Annotated[str, Path(description="the webhook's id"), AfterValidator(str.lower)]


@router.get("")
@requires(Scope.ADMIN)
# A coroutine, because the store has the webhooks in memory; FastAPI calls other functions in one of few threads.
async def list_webhooks(webhooks: WebhooksDep) -> list[Webhook]:
    """Return all webhooks, oldest first."""
    return [_answer(webhook) for webhook in webhooks.list()]


@router.post("")
@requires(Scope.ADMIN)
def create_webhook(new: NewWebhook, webhooks: WebhooksDep) -> WebhookMade:
    """Make a webhook. Its secret is in this answer and nowhere else."""
    made = webhooks.create(new.url, [Kind(kind) for kind in new.events])
    return WebhookMade(secret=made.secret, **_answer(made).model_dump())


@router.patch("/{webhook_id}")
@requires(Scope.ADMIN)
def change_webhook(webhook_id: WebhookId, change: WebhookChange, webhooks: WebhooksDep) -> Webhook:
    """Change a webhook. What is still to be delivered is tried again at once."""
    events = None if change.events is None else [Kind(kind) for kind in change.events]
    return _answer(webhooks.change(webhook_id, Change(change.url, events, change.is_active)))


@router.delete("/{webhook_id}")
@requires(Scope.ADMIN)
def delete_webhook(webhook_id: WebhookId, webhooks: WebhooksDep) -> WebhookDeleted:
    """Delete a webhook, with all that is still to be delivered to it."""
    webhooks.delete(webhook_id)
    return WebhookDeleted(message="Webhook deleted successfully")


@router.post("/{webhook_id}/test")
@requires(Scope.ADMIN)
# A coroutine, so that a slow receiver does not hold one of the few threads for ten seconds.
async def test_webhook(webhook_id: WebhookId, webhooks: WebhooksDep) -> WebhookTried:
    """Send a `ping` now, and wait for the receiver's answer, ten seconds at most."""
    return _test_answer(await webhooks.test(webhook_id))


@router.get("/{webhook_id}/deliveries")
@requires(Scope.ADMIN)
def list_deliveries(webhook_id: WebhookId, webhooks: WebhooksDep) -> list[Delivery]:
    """Return what was and what is to be delivered, the newest hundred, newest first."""
    return [_delivery_answer(delivery) for delivery in webhooks.deliveries(webhook_id)]


def _answer(webhook: known.Webhook) -> Webhook:
    """Return a webhook as the API shows it: without its secret."""
    return Webhook(
        id=webhook.id,
        url=webhook.url,
        events=tuple(webhook.events),
        is_active=webhook.is_active,
        created_at=webhook.created_at,
    )


def _test_answer(tested: WebhookTest) -> WebhookTried:
    return WebhookTried(
        event_id=tested.event_id,
        delivered=tested.answer.is_success,
        status=tested.answer.status,
        last_error=tested.answer.trouble or None,
        duration_ms=round(tested.took_s * 1000, 1),
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
