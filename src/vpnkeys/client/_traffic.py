"""`/api/traffic`: what all keys together use, and each of them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from vpnkeys.client._fields import span_of
from vpnkeys.client._http import Http
from vpnkeys.client._models import Answer, Seconds, TrafficPoint

_PATH = "/api/traffic"


class KeyUsage(Answer):
    """What one key uses; `devices` is from how many addresses it is online now, None while Xray does not tell."""

    key_id: str
    total_bytes: int
    devices: int | None = None
    last_seen: Seconds | None = None


class AllTraffic(Answer):
    """What all keys use, as last sampled; `timestamp` is in Unix seconds."""

    timestamp: int
    total_bytes: int
    keys: tuple[KeyUsage, ...]


class AllHistory(Answer):
    """What all keys that are there used, by hour or day; those in which nothing was counted are left out."""

    step: str
    since: Annotated[Seconds, Field(alias="from")]
    until: Annotated[Seconds, Field(alias="to")]
    points: tuple[TrafficPoint, ...] = ()


class AllKeysTraffic:
    """The traffic of all keys; that of one is in `Keys`."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def now(self) -> AllTraffic:
        """What each key uses, and from how many addresses it is online."""
        return self._http.one(AllTraffic, "GET", _PATH)

    def history(
        self, since: datetime | None = None, until: datetime | None = None, step: Literal["hour", "day"] = "hour"
    ) -> AllHistory:
        """What all keys used by hour or day, UTC; by default of the last day, or 30 days. Raises Rejected."""
        return self._http.one(AllHistory, "GET", f"{_PATH}/history", params=span_of(since, until, step))
