"""Events as a stream brings them, and the rates that `vpnkeys top` makes of them."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from vpnkeys.cli.output.rates import LiveUsage
from vpnkeys.client import StreamEvent, UnexpectedAnswer
from vpnkeys.client._events import EventReader

ODD = "a\u2028b\u2029c\x85d\r"
"""Ends of line for text, and none for the stream."""


def block(name: str, data: object) -> bytes:
    """An event as the server writes it."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), json.dumps(data, ensure_ascii=False).encode())


def read(pieces: list[bytes]) -> list[StreamEvent]:
    """All events of these pieces."""
    reader = EventReader()
    return [event for piece in pieces for event in reader.feed(piece)]


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_events_come_whole_whatever_their_pieces(size: int) -> None:
    """Cut anywhere, also inside a character; odd characters in names end nothing."""
    sent = block("keys", [{"name": ODD}]) + block("traffic", {"n": 1})
    pieces = [sent[start : start + size] for start in range(0, len(sent), size)]
    assert read(pieces) == [StreamEvent("keys", [{"name": ODD}]), StreamEvent("traffic", {"n": 1})]


def test_half_an_event_is_none() -> None:
    """What a broken connection left."""
    assert read([block("traffic", {})[:-1]]) == []


@pytest.mark.parametrize("odd", [b"hello\n\n", b"event: keys\n\n", b"event: keys\ndata: {\n\n"])
def test_what_is_no_event_is_told(odd: bytes) -> None:
    """It is another program that answers."""
    with pytest.raises(UnexpectedAnswer):
        read([odd])


def traffic(**totals: int) -> StreamEvent:
    """A sample."""
    keys = [{"key_id": name, "total_bytes": total, "devices": 1} for name, total in totals.items()]
    return StreamEvent("traffic", {"timestamp": 1, "total_bytes": sum(totals.values()), "keys": keys})


def test_rates_are_between_the_last_two_samples() -> None:
    """The busiest first, then who used most; nobody has a rate before the second sample."""
    board = LiveUsage()
    board.add(traffic(a=1000, b=10, c=20), 100.0)
    assert not board.has_rates
    assert [(one.key_id, one.rate_bytes_per_s) for one in board.usage()] == [("a", None), ("c", None), ("b", None)]
    board.add(traffic(a=1000, b=500, c=20), 101.0)
    board.add(traffic(a=1000, b=600, c=20), 103.0)
    assert [(one.key_id, one.rate_bytes_per_s) for one in board.usage()] == [("b", 50.0), ("a", 0.0), ("c", 0.0)]
    assert board.as_json()["rate_bytes_per_s"] == 50.0


def test_a_reset_total_and_a_new_key_are_no_rate() -> None:
    """Neither less than nothing, nor all that was ever used at once."""
    board = LiveUsage()
    board.add(traffic(a=1000), 0.0)
    board.add(traffic(a=10, b=5000), 2.0)
    assert {one.key_id: one.rate_bytes_per_s for one in board.usage()} == {"a": 0.0, "b": 0.0}


def test_names_come_from_the_keys() -> None:
    """As soon as they were told; a key that is gone is nobody's any more."""
    board = LiveUsage()
    board.add(traffic(a=1), 0.0)
    assert board.usage()[0].name == ""
    key = {"id": "a", "name": ODD, "uuid": "u", "created_at": "2025-08-05T12:00:00", "is_active": False, "port": 1}
    board.add(StreamEvent("keys", [key]), 0.0)
    assert (board.usage()[0].name, board.usage()[0].status, board.usage()[0].port) == (ODD, "disabled", 1)
    board.add(StreamEvent("news of a newer server", None), 0.0)
    with pytest.raises(ValidationError):
        board.add(StreamEvent("traffic", {"keys": 1}), 0.0)
