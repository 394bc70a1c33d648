"""What a node's agent and its control plane say to each other.

Both read what a version before or after them has sent: unknown fields are ignored, and new ones have a default.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MOST_COUNTERS = 300
"""Counters in one report at most: each is stored in one transaction, in which others wait."""

MOST_KEYS = 10_000
"""Keys in one report at most of which it is said that they are online, and as many that have failed."""

LEVEL = 1
"""What an agent of this version can do; a higher one for each thing that it must do and may not ignore."""

_Text = Annotated[str, Field(max_length=253)]
_Count = Annotated[int, Field(ge=0, lt=2**63)]


def _without_offset(moment: datetime) -> datetime:
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


_Utc = Annotated[datetime, AfterValidator(_without_offset), Field(description="UTC, without an offset")]


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class JoinRequest(_Said):
    """An agent that wants to be a node."""

    token: _Text
    public_key: Annotated[str, Field(min_length=1, max_length=64)]
    private_key: Annotated[str, Field(max_length=64, repr=False)] = ""
    """For a machine that takes this one's place one day."""
    address: _Text
    port_range: Annotated[str, Field(pattern=r"^[0-9]{1,5}-[0-9]{1,5}$")]


class Joined(_Said):
    """The answer: which node it is, the token by which it is known, and the ports and key pair that it uses.

    `private_key` is empty where it keeps its own pair.
    """

    node: str
    token: Annotated[str, Field(repr=False)]
    port_range: str
    private_key: Annotated[str, Field(repr=False)] = ""


class NewToken(_Said):
    """A token that takes the place of the present one as soon as the agent reports with it."""

    token: Annotated[str, Field(repr=False)]


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
    used_bytes: int | None = None
    """What all nodes have counted of its traffic in the window that began at `used_since`, as far as it is known."""
    used_since: _Utc | None = None


class Desired(_Said):
    """What a node should have: all of it. `rev` names exactly this; an agent that has it already gets no keys.

    `ticket` names a moment at which it should have this: a node may have to have the same again, after something else.
    An agent whose `LEVEL` is below `needs` would do some of it wrong. `now` is the control plane's clock, by which the
    times in it are meant; None of one that does not say it.
    """

    rev: str
    keys: tuple[WantedKey, ...]
    ticket: str = ""
    needs: int = 1
    now: _Utc | None = None


class Life(_Said):
    """Counters of one life of a node's Xray, as last sampled: bytes up and down by account, since that life began."""

    epoch: Annotated[str, Field(min_length=1, max_length=48)]
    sampled_at: _Utc
    has_ended: bool = False
    usage: Mapping[str, tuple[_Count, _Count]] = Field(default_factory=dict)


class Report(_Said):
    """What a node has. `now` is its clock, by which the times in it are converted.

    `rev` is that of the last `Desired` that was applied, and `failed` has a code for each of its keys that did not
    start. `ticket` is the newest with which a control plane has named this `rev`; empty of an agent that does not know
    of them. Counters that are left out are as they were said to be. `began` says when the time of a key, by account,
    began with its first byte, as long as the control plane says that it has not.
    """

    rev: Annotated[str, Field(max_length=64)] = ""
    failed: Mapping[str, str] = Field(default_factory=dict)
    now: _Utc
    lives: tuple[Life, ...] = ()
    names: Annotated[tuple[_Text, ...], Field(max_length=100)] = ()
    online: Mapping[str, int] = Field(default_factory=dict)
    cpu_share: Annotated[float, Field(ge=0, le=1)] | None = None
    version: Annotated[str, Field(max_length=64)] = ""
    xray_version: Annotated[str, Field(max_length=64)] = ""
    ticket: Annotated[str, Field(max_length=64)] = ""
    began: Mapping[str, _Utc] = Field(default_factory=dict)


class Received(_Said):
    """The answer to a report, which is stored now: what the node should have, and the ticket with it.

    `token_is_old`: the agent should ask for a new one. `now` is the control plane's clock.
    """

    rev: str
    ticket: str = ""
    token_is_old: bool = False
    now: _Utc | None = None
