"""What a log line looks like: for people, as JSON, for the journal."""

import json
import logging
from datetime import UTC, datetime

import pytest

from vpnkeys.server.logevents import FORMATS, Event, as_json, event_of, for_journal, human, without_secrets

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
PLAIN = Event(AT, logging.INFO, "vpnkeys.x", "it happened")
FULL = Event(AT, logging.ERROR, "vpnkeys.x", "it broke", "id-1", {"status": 500, "actor": "bot"}, "Trace:\n  here")


def record(message: str, *args: object, logger: str = "vpnkeys.x", **extra: object) -> logging.LogRecord:
    """As a logger would make it."""
    made = logging.LogRecord(logger, logging.INFO, __file__, 1, message, args, None)
    made.__dict__.update(extra)
    return made


def test_a_line_for_people() -> None:
    """Time, level, who, what, who asked, in which request; a traceback is indented below."""
    assert human(PLAIN, True) == "2026-01-02T03:04:05.678Z INFO    vpnkeys.x: it happened"
    assert human(FULL, False) == "ERROR   vpnkeys.x: it broke by bot [id-1]\n    Trace:\n      here"


def test_a_line_of_json() -> None:
    """One object in one line; what is not there is not named."""
    assert json.loads(as_json(PLAIN, True)) == {
        "time": "2026-01-02T03:04:05.678Z", "level": "info", "logger": "vpnkeys.x", "message": "it happened",
    }  # fmt: skip
    line = as_json(FULL, False)
    assert "\n" not in line
    assert json.loads(line) == {
        "level": "error", "logger": "vpnkeys.x", "message": "it broke", "request_id": "id-1",
        "status": 500, "actor": "bot", "exception": "Trace:\n  here",
    }  # fmt: skip


def said(of: logging.LogRecord) -> Event:
    """What of a record is written."""
    return without_secrets(event_of(of))


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (logging.CRITICAL, 2), (5, 7)],
)
def test_every_line_for_the_journal_has_its_priority(level: int, priority: int) -> None:
    """Also those of a traceback: the journal takes each line for itself."""
    assert for_journal("a\n  b", level) == f"<{priority}>a\n<{priority}>  b"


@pytest.mark.parametrize("form", FORMATS)
def test_nobody_writes_lines_of_his_own(form: str) -> None:
    """Line breaks, terminal colours and broken letters of a message come out as what they are, in one line."""
    event = said(record("name: %s", "a\nERROR b\x1b[31m\u2028c\udc80"))
    line = FORMATS[form](event, True)
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    line.encode()


def test_a_traceback_has_no_values() -> None:
    """Lines of code and the message, not what the variables held; what the message held goes through the net."""
    api_key = "correct horse battery staple"

    def fails(given: str) -> None:
        raise RuntimeError(f"{len(given)} letters from 192.0.2.1")

    with pytest.raises(RuntimeError) as raised:
        fails(api_key)
    caught = record("oh")
    caught.exc_info = (raised.type, raised.value, raised.tb)
    told = said(caught).trace
    assert "in fails" in told
    assert "letters from [address]" in told
    assert api_key not in told.replace('api_key = "correct horse battery staple"', "")


def test_a_message_that_does_not_fit_is_told_all_the_same() -> None:
    """A slip in a log message ends nothing."""
    assert "do not fit" in said(record("%d keys", "three")).message


def test_uuids_of_others_words_are_hidden() -> None:
    """Ours name keys by their ids; Xray's, uvicorn's and tracebacks' may be anybody's."""
    uuid = "0a1b2c3d-1111-4222-8333-444455556666"
    assert uuid in said(record(uuid, logger="vpnkeys.service.keys")).message
    for other in ("vpnkeys.xray.process.child", "uvicorn.error", "asyncio"):
        assert uuid not in said(record(uuid, logger=other)).message
