"""What a node's agent and its control plane say to each other.

Both read what a version before or after them has sent: unknown fields are ignored, and new ones have a default.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MOST_COUNTERS = 300
"""Counters in one report at most, which keeps it below what a request may have."""

_Text = Annotated[str, Field(max_length=253)]
_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Utc = Annotated[datetime, Field(description="UTC, without an offset")]


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class JoinRequest(_Said):
    """An agent that wants to be a node."""

    token: _Text
    public_key: Annotated[str, Field(min_length=1, max_length=64)]
    address: _Text
    port_range: Annotated[str, Field(pattern=r"^[0-9]{1,5}-[0-9]{1,5}$")]


class Joined(_Said):
    """The answer: which node it is, the token by which it is known, and the ports that it uses."""

    node: str
    token: str
    port_range: str


class WantedKey(_Said):
    """A key as its node needs it: without its name and note."""

    id: str
    uuid: str
    account: str
    created_at: _Utc
    is_active: bool
    port: int
    short_id: str
    sni: str
    flow: str
    expires_at: _Utc | None = None
    expires_after_s: int | None = None
    traffic_limit_bytes: int | None = None
    traffic_limit_window: str = "total"
    max_devices: int | None = None
    speed_limit_mbps: int | None = None


class Desired(_Said):
    """What a node should have: all of it. `rev` names exactly this."""

    rev: str
    keys: tuple[WantedKey, ...]


class Life(_Said):
    """Counters of one life of a node's Xray, as last sampled: bytes up and down by account, since that life began."""

    epoch: Annotated[str, Field(min_length=1, max_length=48)]
    sampled_at: _Utc
    has_ended: bool = False
    usage: Mapping[str, tuple[_Count, _Count]] = Field(default_factory=dict)


class Report(_Said):
    """What a node has. `now` is its clock, by which the times in it are converted.

    `rev` is that of the last `Desired` that was applied, and `failed` has a code for each of its keys that did not
    start. Counters that are left out are as they were said to be.
    """

    rev: Annotated[str, Field(max_length=64)] = ""
    failed: Mapping[str, str] = Field(default_factory=dict)
    now: _Utc
    lives: tuple[Life, ...] = ()
    names: Annotated[tuple[_Text, ...], Field(max_length=100)] = ()
    online: Mapping[str, int] = Field(default_factory=dict)
    version: Annotated[str, Field(max_length=64)] = ""
    xray_version: Annotated[str, Field(max_length=64)] = ""


class Received(_Said):
    """The answer to a report, which is stored now."""

    rev: str
