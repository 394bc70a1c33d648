"""Webhooks: which addresses the server sends events to, and what came of it."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from vpnkeys.wire.base import Added, Answer, Microseconds, OneOf, StrictBody
from vpnkeys.wire.keys import Done

URL_MAX_CHARS = 2000

Kind = Literal[
    "key.created",
    "key.changed",
    "key.deleted",
    "key.limit_near",
    "key.limited",
    "key.expired",
    "key.active",
    "traffic.gap",
    "drift.found",
    "node.silent",
    "node.back",
    "node.lost",
    "ping",
]

SentKind = Annotated[str, OneOf(*get_args(Kind)), Field(description="what happened")]
Url = Annotated[
    str,
    Field(
        strict=True,
        description=f"https:// anywhere, http:// to this machine alone; up to {URL_MAX_CHARS} characters",
        examples=["http://127.0.0.1:8080/vpnkeys"],
    ),
]
Events = Annotated[
    list[Kind], Field(max_length=len(get_args(Kind)) * 2, description="of what to tell; none is everything")
]


class NewWebhook(StrictBody):
    """A webhook to make."""

    url: Url
    events: Events = Field(default=[])


class WebhookChange(StrictBody):
    """What should change; fields that are not given stay as they are."""

    url: Url | None = None
    events: Events | None = None
    is_active: Annotated[bool | None, Field(strict=True, description="false: nothing is sent, nothing new is kept")] = (
        None
    )


class Webhook(Answer):
    """A webhook. An empty list of events means all of them."""

    id: str
    url: str
    events: tuple[SentKind, ...] = ()
    is_active: bool
    created_at: Microseconds


class WebhookMade(Webhook):
    """A webhook that was made just now, with the secret that signs what is sent to it."""

    secret: Annotated[str, Field(description="shown this once")]


class WebhookDeleted(Done):
    """Nothing more is sent there."""

    message: Annotated[str, OneOf("Webhook deleted successfully")]


class WebhookTried(Answer):
    """What came of a ping: the HTTP status of the receiver's answer, or what is wrong."""

    event_id: str
    delivered: bool
    status: int | None = None
    last_error: str | None = None
    duration_ms: Annotated[Added[float], Field(description="milliseconds")] = None


class Delivery(Answer):
    """One event on its way. It was given up when it has neither been delivered nor is to be tried again."""

    id: Annotated[str, Field(description="the event's id, the same in each try and for each webhook")]
    event: SentKind
    created_at: Microseconds
    attempts: int
    delivered_at: Microseconds | None = None
    next_try_at: Microseconds | None = None
    last_error: str | None = None
