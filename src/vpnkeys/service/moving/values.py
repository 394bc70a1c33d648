"""Parses single values of other panels' databases.

Every parser raises ValueError with words that finish the sentence "its ...".
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from vpnkeys.domain.errors import InvalidName, InvalidNote
from vpnkeys.domain.limits import Limits, Window
from vpnkeys.domain.naming import parse_name, parse_note
from vpnkeys.service.legacy.values import parse_flag, parse_moment, parse_uuid

Row: TypeAlias = Mapping[str, object]
Tables: TypeAlias = Mapping[str, Sequence[Row]]

_MAX_WHOLE = 2**63 - 1
_MAX_LIMIT_BYTES = 10**18
_MAX_DEVICES = 1000
_MAX_TERM_S = 36500 * 86400


def whole(what: str, value: object) -> int:
    """Return a whole number, given as a number or as text; 0 for what is missing or empty."""
    if value is None or value == "":
        return 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value.removeprefix("-").isascii() and value.removeprefix("-").isdigit():
        value = int(value[:20])
    if not isinstance(value, int) or abs(value) > _MAX_WHOLE:
        msg = f"{what} is no whole number"
        raise ValueError(msg)
    return int(value)


def used(value: object) -> int:
    """Return bytes that were used; 0 for what is no number, or less: it is no reason to leave a customer out."""
    try:
        return max(0, whole("", value))
    except ValueError:
        return 0


def flag(what: str, value: object) -> bool:
    """Return a truth value, True where there is none."""
    try:
        return value is None or parse_flag(value)
    except ValueError as error:
        msg = f"{what} {error}"
        raise ValueError(msg) from error


def limits_of(
    traffic_bytes: int, window: Window, devices: int, expires_at: datetime | None, expires_after_s: int = 0
) -> Limits:
    """Return the limits; 0 and less are none there, and what is more than can be set here becomes the most."""
    return Limits(
        expires_at=expires_at,
        traffic_bytes=min(traffic_bytes, _MAX_LIMIT_BYTES) if traffic_bytes > 0 else None,
        traffic_window=window if traffic_bytes > 0 else Window.TOTAL,
        max_devices=min(devices, _MAX_DEVICES) if devices > 0 else None,
        expires_after_s=min(expires_after_s, _MAX_TERM_S) if expires_after_s > 0 and expires_at is None else None,
    )


def moment(what: str, value: object) -> datetime:
    """Return a time in UTC, given as text, in seconds or in milliseconds."""
    try:
        return parse_moment(value)
    except ValueError as error:
        msg = f"{what} {error}"
        raise ValueError(msg) from error


def moment_of_ms(what: str, milliseconds: int) -> datetime:
    """Return the time so many milliseconds after 1970."""
    try:
        return datetime(1970, 1, 1) + timedelta(milliseconds=milliseconds)  # noqa: DTZ001 - UTC, as everywhere
    except OverflowError as error:
        msg = f"{what} is no time"
        raise ValueError(msg) from error


def uuid_of(value: object) -> str:
    """Return a UUID in its usual form."""
    try:
        return parse_uuid(value)
    except ValueError as error:
        msg = f"id {error}"
        raise ValueError(msg) from error


def name_of(value: object) -> str:
    """Return the name of a key."""
    try:
        return parse_name(value if isinstance(value, str) else "")
    except InvalidName as error:
        msg = f"name cannot be a key's: {str(error).rstrip('.')}"
        raise ValueError(msg) from error


def note_of(value: object) -> str | None:
    """Return a note, None when it cannot be a key's."""
    try:
        return parse_note(value.strip() if isinstance(value, str) else "")
    except InvalidNote:
        return None


def json_object(what: str, text: object) -> Mapping[str, Any]:
    """Return a JSON object that a column holds, as text or read already."""
    try:
        found = json.loads(text) if isinstance(text, str | bytes) else text
    except (ValueError, RecursionError) as error:
        msg = f"{what} are no JSON"
        raise ValueError(msg) from error
    if isinstance(found, dict):
        return found
    msg = f"{what} are no JSON object"
    raise ValueError(msg)


def objects(found: object) -> list[Mapping[str, Any]]:
    """Return the objects of a list; none when it is no list."""
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
