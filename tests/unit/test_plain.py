"""Text of strangers moves nothing on a terminal, and is still told whole."""

from __future__ import annotations

import io
import json
import sys
import unicodedata

import pytest
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from vpnkeys.cli.output.plain import Plain, plain, plain_json, plain_lines
from vpnkeys.cli.output.tables import table_of, table_of_fields

HOSTILE = (
    "\x1b]0;title\x07\x1b[2J\x9b31m\x00\x7f\x85\r\n\t"
    "\u202eabc\u2066\u2069\u200f\u061c\u2028\u2029\ufeff\U000e0041\ud800"
)
FRIENDLY = "Мария Ñandú 中文 👩‍👩‍👧 می‌خواهم שלום – «ok» \\x1b"


def is_obeyed(char: str) -> bool:
    """Whether a terminal does something else than to show it: by Unicode's own categories and directions."""
    directional = unicodedata.bidirectional(char) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return directional or unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} or char in "\u200e\u200f\u061c\u200b"


def test_nothing_that_a_terminal_obeys_is_left() -> None:
    """Of all of Unicode."""
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert [hex(ord(char)) for char in plain(everything) if is_obeyed(char)] == []
    assert [hex(ord(char)) for char in plain_json(everything) if is_obeyed(char)] == []


def test_what_people_write_stays_as_it_is() -> None:
    """Any script, joiners of Persian and of emoji, and what only looks like an escape."""
    assert plain(FRIENDLY) == FRIENDLY
    assert json.loads(plain_json(FRIENDLY)) == FRIENDLY
    assert FRIENDLY.replace("\\", "\\\\") in plain_json(FRIENDLY)


def test_what_is_not_shown_is_written_out() -> None:
    """So that nothing is hidden from who reads it."""
    assert plain("a\x1b[31mb\u202ec\nd") == r"a\x1b[31mb\u202ec\nd"
    assert plain_lines("a\u2028b\nc\x9b") == "a\\u2028b\nc\\x9b"


def test_json_means_the_same() -> None:
    """Whatever is in it, in lines as in one line."""
    value = {HOSTILE: [HOSTILE, 1, None, {"x": FRIENDLY}]}
    assert json.loads(plain_json(value)) == json.loads(plain_json(value, indent=None)) == value
    assert "\n" not in plain_json(value, indent=None)
    assert "\n  " in plain_json(value)


@pytest.mark.parametrize("draw", ["text", "str", "table", "fields", "live"])
def test_nothing_gets_past_the_net(draw: str) -> None:
    """On a terminal there are rich's own codes and no others, however text came in."""
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=300, markup=False, highlight=False, legacy_windows=False)
    if draw == "live":
        with Live(Plain(Text(HOSTILE)), console=console, auto_refresh=False) as live:
            live.refresh()
    else:
        parts: dict[str, RenderableType] = {
            "text": Text(HOSTILE),
            "str": HOSTILE,
            "table": table_of(("a", ">b"), [(HOSTILE, 1)]),
            "fields": table_of_fields([("a", HOSTILE)]),
        }
        console.print(Plain(parts[draw]))
    told = shown.getvalue()
    for code in ("\x1b]", "\x1b[2J\\", "\x9b", "\u202e", "\u2066", "\x00", "\x07", "\x85", "\ud800"):
        assert code not in told
    assert r"\u202eabc" in told


def test_a_table_stays_a_table() -> None:
    """A name with escapes is as wide as it is shown, and its line ends where the others end."""
    shown = io.StringIO()
    rows = [("short", 1), (HOSTILE, 2), ("x", 3)]
    Console(file=shown, width=300).print(table_of(("Name", ">Number"), rows))
    lines = [line for line in shown.getvalue().split("\n") if line.strip()]
    assert len(lines) == 5
    assert len({len(line) for line in lines}) == 1
