"""What the log says: one event a line, for people or as JSON."""

import logging
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import orjson

from vpnkeys.server.redaction import redact
from vpnkeys.server.requests import current_request_id

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

# Who speaks in our own words, of keys by their ids. Our `xray` room passes on what Xray says.
_OURS = ("vpnkeys.",)
_XRAYS = ("vpnkeys.xray.",)

# Priorities of syslog(3): the numbers that sd-daemon(3) puts in front of a line.
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `trace` is a traceback of several lines, or empty."""

    at: datetime
    level: int
    logger: str
    message: str
    request_id: str = ""
    fields: Mapping[str, object] = field(default_factory=dict)
    trace: str = ""

    @property
    def level_name(self) -> str:
        """The level in words."""
        return logging.getLevelName(self.level)


Format = Callable[[Event, bool], str]
"""The text of an event, without the last line break; with a timestamp of its own, or without."""


def with_request_id(record: logging.LogRecord) -> bool:
    """A filter that lets everything through and notes in which request it was said."""
    record.request_id = current_request_id()
    return True


def event_of(record: logging.LogRecord) -> Event:
    """What a record says. Tracebacks hold lines of code and messages, never the values of variables."""
    return Event(
        at=datetime.fromtimestamp(record.created, UTC),
        level=record.levelno,
        logger=record.name,
        message=_message(record),
        request_id=getattr(record, "request_id", ""),
        fields=getattr(record, "fields", {}),
        trace=_trace(record),
    )


def without_secrets(event: Event) -> Event:
    """The same, as it may be written."""
    is_ours = event.logger.startswith(_OURS) and not event.logger.startswith(_XRAYS)
    fields = {name: _clean(value) if isinstance(value, str) else value for name, value in event.fields.items()}
    return replace(
        event,
        message=_clean(event.message, is_ours=is_ours),
        fields=fields,
        trace=_clean(event.trace, is_ours=False),
    )


def _clean(text: str, *, is_ours: bool = True) -> str:
    """Without secrets, and in UTF-8, which lone surrogates are not."""
    return redact(text.encode("utf-8", "backslashreplace").decode(), is_ours=is_ours) if text else ""


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # a slip in a message must not end what it was said by
        return f"{record.msg} (its arguments do not fit)"


def _trace(record: logging.LogRecord) -> str:
    """Of this event alone: the frames' variables, which hold secrets, are not looked at."""
    error = record.exc_info[1] if record.exc_info else None
    told = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format()) if error else ""
    return (told + (record.stack_info or "")).rstrip("\n")


def human(event: Event, timed: bool) -> str:
    """A line for people; the traceback stands indented below."""
    at = f"{event.at:%Y-%m-%dT%H:%M:%S}.{event.at.microsecond // 1000:03d}Z " if timed else ""
    actor = f" by {event.fields['actor']}" if "actor" in event.fields else ""
    request = f" [{event.request_id}]" if event.request_id else ""
    line = f"{event.level_name:7} {event.logger}: {event.message}{actor}{request}"
    trace = [f"    {_one_line(below)}" for below in event.trace.splitlines()]
    return "\n".join([at + _one_line(line), *trace])


def as_json(event: Event, timed: bool) -> str:
    """A JSON object in one line."""
    at = event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    told: dict[str, object] = {
        **({"time": at} if timed else {}),
        "level": event.level_name.lower(),
        "logger": event.logger,
        "message": event.message,
        **({"request_id": event.request_id} if event.request_id else {}),
        **event.fields,
        **({"exception": event.trace} if event.trace else {}),
    }
    line = orjson.dumps(told, default=str).decode()
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", line)


def for_journal(text: str, level: int) -> str:
    """The same with the priority in front of every line, as journald takes it from a service's stderr."""
    priority = next((number for least, number in _PRIORITIES if level >= least), 7)
    return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))


FORMATS: Mapping[str, Format] = {"human": human, "json": as_json}


def _one_line(text: str) -> str:
    """With control characters written out: nobody writes lines of his own into the log, or colours a terminal."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
