"""The answers about keys and the server. Fields not named here are kept; those not promised have a default."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer


def _in_utc(moment: datetime) -> datetime:
    """The API leaves the offset out and means UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _as_sent(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds")


def _as_sent_to_the_second(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="seconds")


Microseconds = Annotated[datetime, AfterValidator(_in_utc), PlainSerializer(_as_sent, str, when_used="json")]
Seconds = Annotated[datetime, AfterValidator(_in_utc), PlainSerializer(_as_sent_to_the_second, str, when_used="json")]


class Answer(BaseModel):
    """What all answers have in common: they do not change, and what a newer server adds is in `model_extra`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def as_sent(self) -> Any:  # noqa: ANN401 - JSON
        """The JSON value that the server sent."""
        return self.model_dump(mode="json", exclude_unset=True, by_alias=True)


class Key(Answer):
    """A key. Times are in UTC; keys from long ago may have neither `short_id` nor `sni`. None is no limit.

    `status` tells whether it works: `active`, `disabled`, `expired` or `limited`; servers without limits do not say.
    """

    id: str
    name: str
    uuid: str
    created_at: Microseconds
    is_active: bool
    port: int
    short_id: str | None = None
    sni: str | None = None
    status: str | None = None
    note: str = ""
    expires_at: Microseconds | None = None
    traffic_limit_bytes: int | None = None
    traffic_limit_window: str | None = None
    max_devices: int | None = None
    speed_limit_mbps: int | None = None


class KeyConfig(Answer):
    """A key with its link; `client_config` and `vless_url` are the same."""

    key: Key
    client_config: str
    vless_url: str
    short_id: str | None = None


class TrafficGap(Answer):
    """A time in which bytes may have passed uncounted."""

    since: datetime | None = None
    until: datetime | None = None


class Traffic(Answer):
    """What a key has used since it was made or last reset: both directions together."""

    status: str
    key_id: str
    key_uuid: str
    total_bytes: int
    timestamp: Seconds
    gaps: tuple[TrafficGap, ...] = ()


class TrafficReset(Answer):
    """A key's total starts again from zero."""

    status: str
    message: str
    key_id: str
    key_uuid: str
    timestamp: Seconds


class TrafficPoint(Answer):
    """What was counted in the hour or day that began at `time`."""

    time: Seconds
    up_bytes: int
    down_bytes: int


class TrafficHistory(Answer):
    """What a key used, by hour or day; those in which nothing was counted are left out."""

    key_id: str
    key_uuid: str
    step: str
    since: Annotated[Seconds, Field(alias="from")]
    until: Annotated[Seconds, Field(alias="to")]
    points: tuple[TrafficPoint, ...] = ()


class Online(Answer):
    """Whether a key's customer is online, and from how many addresses."""

    key_id: str
    key_uuid: str
    online: bool
    devices: int
    last_seen: Seconds | None = None
    timestamp: Seconds


class SubscriptionMade(Answer):
    """A subscription that was made just now. Its `url` is for the customer, and is told this once."""

    key_id: str
    url: str
    created_at: Microseconds


class Subscription(Answer):
    """Whether a key has a subscription, and since when."""

    key_id: str
    exists: bool
    created_at: Microseconds | None = None


class EgressTest(Answer):
    """Whether a test got from the server out to the key's own REALITY target; `works` is None when not tried."""

    works: bool | None = None
    detail: str = ""


class KeyTest(Answer):
    """What a real client found that tried a key's link. `code` is `ok`, or a stable word for what is wrong.

    `first_byte_ms` is from the request to the first byte of the answer, `handshake_ms` what of it TCP and REALITY took.
    """

    key_id: str
    works: bool
    code: str
    detail: str
    handshake_ms: float | None = None
    first_byte_ms: float | None = None
    bytes_received: int = 0
    counted: bool = False
    egress: EgressTest = EgressTest()


class DeletedMany(Answer):
    """Keys are gone."""

    message: str
    deleted: int


class Done(Answer):
    """It was done. `timestamp` is in Unix seconds, where there is one."""

    message: str
    status: str | None = None
    timestamp: int | None = None


class Info(Answer):
    """What answers there."""

    message: str
    version: str
    status: str
    service_version: str | None = None


class Health(Answer):
    """How everything is: `healthy`, `degraded` or `unhealthy`, and the parts."""

    status: str
    timestamp: int | float | str | None = None
    version: str | None = None
    service_version: str | None = None
    services: dict[str, Any] = Field(default_factory=dict)
    uptime_seconds: int | float | None = None
    connection_cut: str | None = None
    udp_full_cone: str | None = None
    server_names_ready: int | None = None
