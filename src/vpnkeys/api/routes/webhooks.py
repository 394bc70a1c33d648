"""`/api/webhooks`: who is told of events, and what came of telling them."""

from typing import Annotated, Literal, Self

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from vpnkeys.api.deps import ServerDep, administering
from vpnkeys.api.problems import problems
from vpnkeys.api.schemas import CreatedAt
from vpnkeys.domain.event import Kind
from vpnkeys.domain.webhook import URL_MAX_CHARS, Delivery, Webhook
from vpnkeys.service.webhooks import Change, Trial

router = APIRouter(
    prefix="/api/webhooks",
    tags=["webhooks"],
    dependencies=[administering],
    responses=problems(400, 401, 404, 429, 500, 503),
)

WebhookId = Annotated[str, Path(description="the webhook's id")]
Url = Annotated[
    str,
    Field(
        strict=True,
        description=f"https:// anywhere, http:// to this machine alone; up to {URL_MAX_CHARS} characters",
        examples=["http://127.0.0.1:8080/vpnkeys"],
    ),
]
Events = Annotated[list[Kind], Field(max_length=len(Kind) * 2, description="of what to tell; none is everything")]


class NewWebhook(BaseModel):
    """A webhook to make."""

    model_config = ConfigDict(extra="forbid")

    url: Url
    events: Events = []


class WebhookChange(BaseModel):
    """What should change; fields that are not given stay as they are."""

    model_config = ConfigDict(extra="forbid")

    url: Url | None = None
    events: Events | None = None
    is_active: Annotated[bool | None, Field(strict=True, description="false: nothing is sent, nothing new is kept")] = (
        None
    )


class WebhookOut(BaseModel):
    """A webhook. An empty list of events means all of them."""

    id: str
    url: str
    events: list[Kind]
    is_active: bool
    created_at: CreatedAt

    @classmethod
    def of(cls, webhook: Webhook) -> Self:
        """A webhook as the API shows it: without its secret."""
        return cls(
            id=webhook.id,
            url=webhook.url,
            events=list(webhook.events),
            is_active=webhook.is_active,
            created_at=webhook.created_at,
        )


class WebhookMade(WebhookOut):
    """A webhook that was made just now, with the secret that signs what is sent to it."""

    secret: Annotated[str, Field(description="shown this once")]


class WebhookDeleted(BaseModel):
    """Nothing more is sent there."""

    message: Literal["Webhook deleted successfully"] = "Webhook deleted successfully"


class WebhookTried(BaseModel):
    """What came of a ping: the status of the receiver's answer, or what is wrong."""

    event_id: str
    delivered: bool
    status: int | None
    last_error: str | None
    duration_ms: float

    @classmethod
    def of(cls, trial: Trial) -> Self:
        """A trial as the API shows it."""
        return cls(
            event_id=trial.event_id,
            delivered=trial.answer.is_success,
            status=trial.answer.status,
            last_error=trial.answer.trouble or None,
            duration_ms=round(trial.took_s * 1000, 1),
        )


class DeliveryOut(BaseModel):
    """One event on its way. It was given up when it has neither been delivered nor is to be tried again."""

    id: Annotated[str, Field(description="the event's id, the same in each try and for each webhook")]
    event: Kind
    created_at: CreatedAt
    attempts: int
    delivered_at: CreatedAt | None
    next_try_at: CreatedAt | None
    last_error: str | None

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """A delivery as the API shows it."""
        return cls(
            id=delivery.event_id,
            event=delivery.event,
            created_at=delivery.created_at,
            attempts=delivery.attempts,
            delivered_at=delivery.delivered_at,
            next_try_at=delivery.next_try_at,
            last_error=delivery.last_error or None,
        )


@router.get("")
async def list_webhooks(server: ServerDep) -> list[WebhookOut]:
    """All webhooks, oldest first."""
    return [WebhookOut.of(webhook) for webhook in server.webhooks.list()]


@router.post("")
def create_webhook(new: NewWebhook, server: ServerDep) -> WebhookMade:
    """Make a webhook. Its secret is in this answer and nowhere else."""
    made = server.webhooks.create(new.url, new.events)
    return WebhookMade(secret=made.secret, **WebhookOut.of(made).model_dump())


@router.patch("/{webhook_id}")
def change_webhook(webhook_id: WebhookId, change: WebhookChange, server: ServerDep) -> WebhookOut:
    """Change a webhook. What it has still to be told is tried again at once."""
    return WebhookOut.of(
        server.webhooks.change(webhook_id, Change(change.url, change.events, change.is_active)),
    )


@router.delete("/{webhook_id}")
def delete_webhook(webhook_id: WebhookId, server: ServerDep) -> WebhookDeleted:
    """Remove a webhook, with all that it has still to be told."""
    server.webhooks.delete(webhook_id)
    return WebhookDeleted()


@router.post("/{webhook_id}/test")
async def test_webhook(webhook_id: WebhookId, server: ServerDep) -> WebhookTried:
    """Send a `ping` now, and wait for what the receiver says, ten seconds at most."""
    return WebhookTried.of(await server.webhooks.test(webhook_id))


@router.get("/{webhook_id}/deliveries")
def list_deliveries(webhook_id: WebhookId, server: ServerDep) -> list[DeliveryOut]:
    """What the webhook was told and has still to be told, the newest hundred, newest first."""
    return [DeliveryOut.of(delivery) for delivery in server.webhooks.deliveries(webhook_id)]
