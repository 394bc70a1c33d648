"""`/api/keys/{key_id}/traffic`: what a key has used."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from vpnkeys.api.deps import KeyId, ServerDep, require_api_key
from vpnkeys.api.problems import problems
from vpnkeys.domain.key import Key
from vpnkeys.domain.traffic import Gap, Traffic

router = APIRouter(
    prefix="/api/keys/{key_id}/traffic",
    tags=["traffic"],
    dependencies=[Depends(require_api_key)],
    responses=problems(401, 404, 429, 500, 503),
)

Seconds = Annotated[
    str, Field(description="ISO 8601 to the second, UTC, without an offset", examples=["2025-11-21T16:00:00"])
]


def _seconds(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def _now() -> str:
    return _seconds(datetime.now(UTC))


class GapOut(BaseModel):
    """A time in which bytes may have passed uncounted, because Xray died before its next sample."""

    since: Seconds
    until: Seconds

    @classmethod
    def of(cls, gap: Gap) -> Self:
        """A gap as the API shows it."""
        return cls(since=_seconds(gap.since), until=_seconds(gap.until))


class TrafficOut(BaseModel):
    """What a key has used since it was made or last reset, up and down together."""

    status: Literal["success"] = "success"
    key_id: str
    key_uuid: str
    total_bytes: int
    timestamp: Seconds
    gaps: list[GapOut]

    @classmethod
    def of(cls, key: Key, traffic: Traffic) -> Self:
        """A key's traffic as the API shows it."""
        gaps = [GapOut.of(gap) for gap in traffic.gaps]
        return cls(key_id=key.id, key_uuid=key.uuid, total_bytes=traffic.total_bytes, timestamp=_now(), gaps=gaps)


class TrafficReset(BaseModel):
    """The key's total starts again from zero."""

    status: Literal["success"] = "success"
    message: Literal["Traffic reset successfully"] = "Traffic reset successfully"
    key_id: str
    key_uuid: str
    timestamp: Seconds


@router.get("")
def get_traffic(key_id: KeyId, server: ServerDep) -> TrafficOut:
    """What a key has used, with Xray's counters of this moment."""
    key = server.keys.get(key_id)
    return TrafficOut.of(key, server.traffic.of(key))


@router.post("/reset")
def reset_traffic(key_id: KeyId, server: ServerDep) -> TrafficReset:
    """Let the key's total start again from zero."""
    key = server.keys.get(key_id)
    server.traffic.reset(key)
    return TrafficReset(key_id=key.id, key_uuid=key.uuid, timestamp=_now())
