"""The answers about keys and the server itself. Fields that are not named here are kept; those the specification does not promise have a default."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer


def _in_utc(moment: datetime) -> datetime:
    """The API leaves the offset out and means UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _as_sent(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")


def _as_sent_to_the_second(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


Microseconds = Annotated[datetime, AfterValidator(_in_utc), PlainSerializer(_as_sent, str, when_used="json")]
Seconds = Annotated[datetime, AfterValidator(_in_utc), PlainSerializer(_as_sent_to_the_second, str, when_used="json")]


class Answer(BaseModel):
    """What all answers have in common: they do not change, and what a newer server adds is in `model_extra`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def as_sent(self) -> Any:  # noqa: ANN401 - JSON
        """The JSON value that the server sent."""
        return self.model_dump(mode="json", exclude_unset=True)


class Key(Answer):
    """A key. `created_at` is in UTC; keys from long ago may have neither `short_id` nor `sni`."""

    id: str
    name: str
    uuid: str
    created_at: Microseconds
    is_active: bool
    port: int
    short_id: str | None = None
    sni: str | None = None


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
    server_names_ready: int | None = None
