"""What a log line looks like: for people, as JSON, for the journal."""

import json
import logging
from datetime import UTC, datetime

import pytest

from vpnkeys.server.logformat import LineFormatter

AT = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
HUMAN, JSON = LineFormatter(as_json=False), LineFormatter(as_json=True)
HUMAN_JOURNAL, JSON_JOURNAL = (LineFormatter(as_json=as_json, for_journal=True) for as_json in (False, True))


def record(
    message: str, *args: object, logger: str = "vpnkeys.x", level: int = logging.INFO, **extra: object
) -> logging.LogRecord:
    """As a logger would make it."""
    made = logging.LogRecord(logger, level, __file__, 1, message, args, None)
    made.created, made.msecs = AT.timestamp(), 678.0
    made.__dict__.update(extra)
    return made


PLAIN = record("it happened")
FULL = record(
    "it broke",
    level=logging.ERROR,
    request_id="id-1",
    fields={"status": 500, "actor": "bot"},
    exc_text="Trace:\n  here",
)


def test_a_line_for_people() -> None:
    """Time, level, who, what, who asked, in which request; a traceback is indented below."""
    assert HUMAN.format(PLAIN) == "2026-01-02T03:04:05.678Z INFO    vpnkeys.x: it happened"
    assert HUMAN.format(FULL) == (
        "2026-01-02T03:04:05.678Z ERROR   vpnkeys.x: it broke by bot [id-1]\n    Trace:\n      here"
    )


def test_a_line_of_json() -> None:
    """One object in one line; what is not there is not named."""
    assert json.loads(JSON.format(PLAIN)) == {
        "time": "2026-01-02T03:04:05.678Z", "level": "info", "logger": "vpnkeys.x", "message": "it happened",
    }  # fmt: skip
    line = JSON_JOURNAL.format(FULL).removeprefix("<3>")
    assert "\n" not in line
    assert json.loads(line) == {
        "level": "error", "logger": "vpnkeys.x", "message": "it broke", "request_id": "id-1",
        "status": 500, "actor": "bot", "exception": "Trace:\n  here",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (logging.CRITICAL, 2), (5, 7)],
)
def test_every_line_for_the_journal_has_its_priority(level: int, priority: int) -> None:
    """Also those of a traceback: the journal takes each line for itself."""
    lines = HUMAN_JOURNAL.format(record("a", level=level, exc_text="b\n\n  c")).splitlines()
    assert [line.partition(">")[0] for line in lines] == [f"<{priority}"] * 4
    assert lines[0].endswith(" vpnkeys.x: a")
    assert [line.partition(">")[2] for line in lines[1:]] == ["    b", "    ", "      c"]


@pytest.mark.parametrize("form", [HUMAN, JSON])
def test_nobody_writes_lines_of_his_own(form: LineFormatter) -> None:
    """Line breaks, terminal colours and broken letters of a message come out as what they are, in one line."""
    line = form.format(record("name: %s", "a\nERROR b\x1b[31m\u2028c\udc80"))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    line.encode()


@pytest.mark.parametrize("form", [HUMAN, JSON])
def test_who_asked_is_cleaned_like_what_happened(form: LineFormatter) -> None:
    """A token's name is the operator's own words, and may hold what looks like a secret, or half a letter."""
    line = form.format(record("it happened", fields={"actor": "vpnk_0a1b2c3d_x \x1b[31m\udc80"}))
    assert "[token]" in line
    assert "vpnk_" not in line
    assert "\x1b" not in line
    line.encode()


def test_a_traceback_has_no_values() -> None:
    """Lines of code and the message, not what the variables held; what the message held goes through the net."""
    api_key = "correct horse battery staple"

    def fails(given: str) -> None:
        raise RuntimeError(f"{len(given)} letters from 192.0.2.1")

    with pytest.raises(RuntimeError) as raised:
        fails(api_key)
    told = HUMAN.format(record("oh", exc_info=(raised.type, raised.value, raised.tb)))
    assert "in fails" in told
    assert "letters from [address]" in told
    assert api_key not in told.replace('api_key = "correct horse battery staple"', "")


def test_uuids_of_others_words_are_hidden() -> None:
    """Ours name keys by their ids; Xray's, uvicorn's and tracebacks' may be anybody's."""
    uuid = "0a1b2c3d-1111-4222-8333-444455556666"
    assert uuid in HUMAN.format(record(uuid, logger="vpnkeys.service.keys"))
    for other in ("vpnkeys.xray.process.child", "uvicorn.error", "asyncio"):
        assert uuid not in HUMAN.format(record(uuid, logger=other))
