"""Limits of a key in requests and answers: their values, and how much of them is left."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

WINDOW_FORM = r"total|day|week|month|month@([1-9]|[12][0-9]|3[01])|([1-9]|[1-8][0-9]|90)d"


def _window(text: str) -> str:
    if re.fullmatch(WINDOW_FORM, text) is None:
        msg = "give total, day, week, month, month@15 (a month from the 15th) or 30d (the last 30 days, at most 90)"
        raise ValueError(msg)
    return text


SENT_WINDOW = Field(
    description="the period of the traffic limit, UTC: `total`, `day`, `week` (from Monday), `month`, `month@15` (from "
    "the 15th, or the last day of a shorter month), `30d` (this day and the 29 before it, at most 90)",
    examples=["month"],
    json_schema_extra={"pattern": f"^({WINDOW_FORM})$"},
)
Window = Annotated[str, Field(strict=True), AfterValidator(_window), SENT_WINDOW]


def whole(value: object) -> object:
    """JSON has one kind of number: 5.0 is the integer 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = BeforeValidator(whole)
# A bound that is exact as a floating-point number too, as which OpenAPI tells it.
TrafficLimit = Annotated[int, Field(strict=True, ge=1, le=10**18, description="bytes, up and down together"), Whole]
Devices = Annotated[
    int, Field(strict=True, ge=1, le=1000, description="devices (IPv4 address, IPv6 /64) online at once"), Whole
]
Speed = Annotated[int, Field(strict=True, ge=1, le=100_000, description="Mbit/s (10^6 bits), each way"), Whole]

Term = Annotated[
    int, Field(strict=True, ge=1, le=3_153_600_000, description="seconds from the first byte until it expires"), Whole
]


UsedInWindow = Annotated[
    int | None,
    Field(
        description="bytes since the window began, or since the last reset; null while the database does not answer",
        examples=[1234567],
    ),
]
Remaining = Annotated[
    int | None, Field(description="bytes left of the traffic limit; null: no limit", examples=[49998765433])
]
ResetsAt = Field(
    description="when the window begins anew, or its oldest day leaves it; null: never",
    examples=["2026-12-01T00:00:00"],
)
