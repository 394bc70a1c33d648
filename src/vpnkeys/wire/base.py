"""What all answers and all request bodies share, and the types that their fields are made of."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache, partial
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from vpnkeys.wire.unknown import field_meant, refusal

NAME_MAX_CHARS = 128

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


def one_of(given: M, one: str, other: str) -> M:
    """Return a body in which at most one of two fields is given. Raises ValueError."""
    if getattr(given, one) is not None and getattr(given, other) is not None:
        msg = f"{other}: give this or {one}, not both"
        raise ValueError(msg)
    return given


def _as_this_server_sends_it(schema: dict[str, Any]) -> None:
    """Describe the answers of this server, which fills in every field.

    Defaults and fields without a name are for readers of answers that another version sent.
    """
    schema.pop("additionalProperties", None)
    fields = schema.get("properties", {})
    for field in fields.values():
        field.pop("default", None)
    schema["required"] = list(fields)


class Answer(BaseModel):
    """An answer cannot be changed; fields that a newer server added are in `model_extra`.

    Fields without a default are those of the specification. The others may be missing from the answers of an older
    server, and then have their default.
    """

    model_config = ConfigDict(
        frozen=True, extra="allow", populate_by_name=True, json_schema_extra=_as_this_server_sends_it
    )

    def as_sent(self) -> Any:  # noqa: ANN401 - JSON
        """Return the JSON value that the server sent."""
        return self.model_dump(mode="json", exclude_unset=True, by_alias=True)


class _Fields(BaseModel):
    """The fields of a request body. An unknown one that is close to a known one is refused."""

    @classmethod
    def other_names(cls) -> Mapping[str, str]:
        """Return names by which other programs call fields of this body, in small letters and without underscores."""
        return {}

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_is_close(cls, given: Any) -> Any:  # noqa: ANN401 - raw input
        if isinstance(given, dict):
            refuse_unknown(cls, given)
        return given


def refuse_unknown(body: type[_Fields], names: Iterable[object]) -> None:
    """Check which of these names a body does not know. Raises PydanticCustomError when one is close, or when many are.

    In the bodies of one bulk request the same names come again and again, so each is compared once.
    """
    unknown = [str(name) for name in names if name not in body.model_fields]
    if unknown and (sentence := refusal(unknown, partial(_meant, body))):
        raise PydanticCustomError("unknown_field", "{sentence}", {"sentence": sentence})


@lru_cache(maxsize=256)
def _meant(body: type[_Fields], name: str) -> str | None:
    return field_meant(name, body.model_fields, body.other_names())


class Body(_Fields):
    """A request body of a path that servers of version 2.3 have too. As they do, it ignores fields that are unknown."""

    model_config = ConfigDict(extra="allow")

    @property
    def ignored_fields(self) -> tuple[str, ...]:
        """Return the names of the fields that were ignored."""
        return tuple(self.model_extra or ())


class StrictBody(_Fields):
    """A request body of a path that only this server has: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class OneOf:
    """The words that this server sends in a field. Readers take any word: a newer server may have more."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe the words; a single one is a constant."""
        words: JsonSchemaValue = {"const": self.words[0]} if len(self.words) == 1 else {"enum": list(self.words)}
        return {**handler(core), **words}


class _AlwaysSent:
    """Describes an optional field as one that is never null: this server always sends it."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        (always,) = (kind for kind in schema.pop("anyOf") if kind != {"type": "null"})
        return {**always, **schema}


Added: TypeAlias = Annotated[T | None, _AlwaysSent()]
"""A field that is not in the specification: None in the answers of a server that does not have it."""


class _Utc:
    """Reads a moment that was sent without an offset as UTC.

    A datetime that is given as such is kept as it is. The server fills its answers with moments in UTC without an
    offset: a function of Python's for each of them would double the time that a key's answer takes.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401
        sent = core_schema.no_info_after_validator_function(_in_utc, handler(source))
        given = core_schema.datetime_schema(strict=True)
        either = core_schema.union_schema([given, sent], mode="left_to_right")
        return core_schema.json_or_python_schema(json_schema=sent, python_schema=either)


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


# How many characters the digits have; what would follow is the offset, which is UTC. By position and not by name, since
# these two functions are a third of the time that the JSON of a key takes.
_TO_THE_MICROSECOND, _TO_THE_SECOND = 26, 19


def _microseconds(moment: datetime) -> str:
    return moment.isoformat("T", "microseconds")[:_TO_THE_MICROSECOND]


def _seconds(moment: datetime) -> str:
    return moment.isoformat("T", "seconds")[:_TO_THE_SECOND]


Microseconds = Annotated[
    datetime,
    _Utc(),
    PlainSerializer(_microseconds, return_type=str, when_used="json"),
    Field(description="ISO 8601 with six decimals, UTC, without an offset", examples=["2025-08-05T12:00:00.000000"]),
]
"""A moment as the paths about keys, tokens, webhooks, audit and backups write it; read as an aware datetime in UTC."""

Seconds = Annotated[
    datetime,
    _Utc(),
    PlainSerializer(_seconds, return_type=str, when_used="json"),
    Field(description="ISO 8601 to the second, UTC, without an offset", examples=["2025-11-21T16:00:00"]),
]
"""A moment as the paths about traffic write it; read as an aware datetime in UTC."""

UnixSeconds = Annotated[int, Field(description="Unix seconds", examples=[1734883200])]


def _utc_without_offset(value: object) -> datetime:
    if not isinstance(value, str):
        msg = "give ISO 8601, such as 2026-12-31T23:59:59Z"
        raise ValueError(msg)  # noqa: TRY004 - pydantic tells ValueErrors to the client
    try:
        moment = datetime.fromisoformat(value)
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError) as error:
        msg = "give ISO 8601, such as 2026-12-31T23:59:59Z"
        raise ValueError(msg) from error


Moment = Annotated[
    datetime,
    BeforeValidator(_utc_without_offset),
    PlainSerializer(_microseconds, return_type=str),
    Field(
        description="ISO 8601; UTC unless it has an offset",
        examples=["2026-12-31T23:59:59"],
        # Years that a computation with offsets cannot leave.
        json_schema_extra={"format": "date-time", "pattern": r"^20[0-9]{2}-"},
    ),
]
"""A moment in a request; the server gets it in UTC without an offset."""


def _end_of_a_day(value: object) -> object:
    """Return the end of a day for a date alone, and any other value as it is."""
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return value
    if day is None:
        return value
    if day == date.max:  # the calendar has no next day
        return f"{day}T23:59:59.999999"
    return f"{day + timedelta(days=1)}T00:00:00"


Expiry = Annotated[
    Moment,
    BeforeValidator(_end_of_a_day),
    Field(description="ISO 8601; UTC unless it has an offset; a date alone means that day's end"),
]
"""The moment at which something expires: what is good until a day is good on that day."""

# For readers of the OpenAPI document; the server decides by `domain.key.parse_name`, once.
_CONTROLS, _SPACES = r"\u0000-\u001f\u007f-\u009f", r"\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_NAME_PATTERN = f"^[^{_CONTROLS}]*[^{_CONTROLS}{_SPACES}][^{_CONTROLS}]*$"

Name = Annotated[
    str,
    Field(
        strict=True,
        description=f"1 to {NAME_MAX_CHARS} characters after trimming, none of them a control character",
        examples=["user@example.com"],
        json_schema_extra={"minLength": 1, "maxLength": NAME_MAX_CHARS, "pattern": _NAME_PATTERN},
    ),
]
"""The name of a key or of a token in a request."""
