"""Parses single values of an installation of the 2.3 line, in every spelling that was in use.

Every parser raises ValueError with words that finish the sentence "the value ...".
"""

import json
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from vpnkeys.domain.portpool import is_port
from vpnkeys.domain.reality import SHORT_ID_HEX_DIGITS, is_server_name, is_short_id

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC without an offset, as everywhere
_MILLISECONDS_FROM = 1e11
"""Unix seconds reach this in the year 5138; a larger number counts milliseconds."""

_UNIX_TIME = re.compile(r"-?\d{9,}(?:\.\d+)?", re.ASCII)
_ZONE = re.compile(r"\s*(?:UTC|GMT|Z)\Z|\s+(?=[+-]\d\d:?\d\d\Z)", re.IGNORECASE)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,35}", re.ASCII)
_DECIMAL = re.compile(r"\d{1,5}", re.ASCII)
_MAX_BYTES = 2**63 - 1
_FLAGS = {"1": True, "true": True, "0": False, "false": False}


def parse_id(value: object) -> str:
    """Return a key's id: up to 36 letters, digits, hyphens, dots, underscores; numbers were in use too."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if _ID.fullmatch(text) is None:
        msg = "is no id of 1 to 36 letters, digits and hyphens"
        raise ValueError(msg)
    return text


def parse_uuid(value: object) -> str:
    """Return a UUID in its usual form; Xray also takes capitals, and no hyphens, so the old files may have them."""
    try:
        return str(UUID(value if isinstance(value, str) else ""))
    except ValueError as error:
        msg = "is no UUID"
        raise ValueError(msg) from error


def parse_port(value: object) -> int:
    """Return a TCP port, given as a number or as text."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if _DECIMAL.fullmatch(text) is None or not is_port(text):
        msg = "is no port from 1 to 65535"
        raise ValueError(msg)
    return int(text)


def parse_short_id(value: object) -> str:
    """Return a short id in small letters. An empty one becomes 16 zeros, which a client without a short id sends."""
    text = value.lower() if isinstance(value, str) else "?"
    if text and not is_short_id(text):
        msg = "is no short id of 2 to 16 hex digits"
        raise ValueError(msg)
    return text or "0" * SHORT_ID_HEX_DIGITS


def parse_server_name(value: object) -> str:
    """Return a server name unchanged, because REALITY compares names byte by byte."""
    if not isinstance(value, str) or not is_server_name(value):
        msg = "is no lower-case host name"
        raise ValueError(msg)
    return value


def parse_flag(value: object) -> bool:
    """Return a truth value, given as 0, 1, true or false."""
    flag = _FLAGS.get(str(value).strip().lower()) if isinstance(value, str | int) else None
    if flag is None:
        msg = "is neither 0 nor 1"
        raise ValueError(msg)
    return flag


def parse_moment(value: object) -> datetime:
    """Return a time in UTC, without an offset; text without one is UTC, numbers are Unix seconds or milliseconds."""
    if isinstance(value, str) and _UNIX_TIME.fullmatch(value.strip()):
        value = float(value)
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = value / 1000 if abs(value) >= _MILLISECONDS_FROM else value
            return _EPOCH + timedelta(seconds=seconds)
        if isinstance(value, str):
            return _iso_moment(value.strip())
    except (ValueError, OverflowError) as error:
        msg = "is no time such as 2025-08-05T12:00:00"
        raise ValueError(msg) from error
    msg = "is no time such as 2025-08-05T12:00:00"
    raise ValueError(msg)


def _iso_moment(text: str) -> datetime:
    # fromisoformat() does not take zone names such as "UTC", which the old server wrote.
    moment = datetime.fromisoformat(_ZONE.sub(lambda zone: "+00:00" if zone[0].strip() else "", text))
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def parse_total(payload: object) -> int:
    """Return the bytes in a payload `{"total_bytes": ...}`; the old server has added Xray's last counters to it."""
    try:
        document = json.loads(payload) if isinstance(payload, str) else None
    except ValueError:
        document = None
    total = document.get("total_bytes") if isinstance(document, dict) else None
    if isinstance(total, float) and total.is_integer():
        total = int(total)
    if not isinstance(total, int) or isinstance(total, bool) or not 0 <= total <= _MAX_BYTES:
        msg = 'is no JSON object with a whole number of "total_bytes"'
        raise ValueError(msg)
    return total
