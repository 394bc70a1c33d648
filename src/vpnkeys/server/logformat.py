"""Formats log records as text or as JSON, one event a line, without secrets."""

import logging
import re
import textwrap
import time
from collections.abc import Mapping

import orjson

from vpnkeys.server.redaction import redact

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

# Priorities of syslog(3): the numbers that sd-daemon(3) puts in front of a line.
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


class LineFormatter(logging.Formatter):
    """Formats a record as one line of text, with the traceback indented below, or as one JSON object.

    For the journal every line begins with its priority (sd-daemon(3)) and has no time: journald adds its own.
    """

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, *, as_json: bool, for_journal: bool = False) -> None:
        super().__init__()
        self._lay_out = self._json if as_json else self._human
        self._for_journal = for_journal

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of this record, without the last line break."""
        # Our own messages name keys by their ids, which look like UUIDs. Loggers below `xray` repeat Xray's output,
        # where a UUID is a customer's credential.
        is_ours = record.name.startswith("vpnkeys.") and not record.name.startswith("vpnkeys.xray.")
        trace = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else "")
        fields: Mapping[str, object] = getattr(record, "fields", {})
        message = _clean(record.getMessage(), is_ours=is_ours)
        text = self._lay_out(record, message, fields, _clean(trace, is_ours=False))
        if not self._for_journal:
            return text
        priority = next((number for least, number in _PRIORITIES if record.levelno >= least), 7)
        # Each line of a traceback needs the prefix: journald makes an entry of each line.
        return textwrap.indent(text, f"<{priority}>", lambda _: True)

    def _human(self, record: logging.LogRecord, message: str, fields: Mapping[str, object], trace: str) -> str:
        at = "" if self._for_journal else f"{self.formatTime(record)} "
        actor = f" by {_clean(str(fields['actor']))}" if "actor" in fields else ""
        request = f" [{request_id}]" if (request_id := _request_id(record)) else ""
        line = _one_line(f"{record.levelname:7} {record.name}: {message}{actor}{request}")
        return "\n".join([at + line, *(f"    {_one_line(below)}" for below in trace.splitlines())])

    def _json(self, record: logging.LogRecord, message: str, fields: Mapping[str, object], trace: str) -> str:
        document = {
            "time": "" if self._for_journal else self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
            "request_id": _request_id(record),
            **{name: _clean(value) if isinstance(value, str) else value for name, value in fields.items()},
            "exception": trace,
        }
        # JSON escapes C0 only; DEL, C1 and U+2028 end a line for some readers, or control a terminal.
        line = orjson.dumps({name: value for name, value in document.items() if value != ""}, default=str).decode()
        return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", line)


def _request_id(record: logging.LogRecord) -> str:
    return getattr(record, "request_id", "")


def _clean(text: str, *, is_ours: bool = True) -> str:
    """Return the text without secrets and lone surrogates, which cannot be encoded in UTF-8."""
    return redact(text.encode("utf-8", "backslashreplace").decode(), is_ours=is_ours) if text else ""


def _one_line(text: str) -> str:
    """Return the text with control characters escaped: logged input cannot forge a line or control a terminal."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
