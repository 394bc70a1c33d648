"""Escapes untrusted text, so that a terminal shows it and does not obey it.

Names may come from customers, and errors from any server. A terminal obeys control characters (ECMA-48), and
reorders text around directional marks (UAX #9).
"""

import codecs
import json
import re
import sys
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment

# Control characters, directional marks, line ends, invisible characters, and surrogates, which cannot be encoded.
# Joiners (U+200C, U+200D) stay: Persian and emoji need them.
_UNSAFE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb"
    "\\ud800-\\udfff\\U000e0000-\\U000e007f]"
)


def plain(text: str) -> str:
    """Return the text in one line, with unsafe characters as Python escapes."""
    return _UNSAFE.sub(_written_out, text)


def plain_lines(text: str) -> str:
    """Return the text with its line ends kept, and other unsafe characters as Python escapes."""
    return "\n".join(plain(line) for line in text.split("\n"))


def plain_json(value: Any, indent: int | None = 2) -> str:  # noqa: ANN401 - JSON
    """Return the value as JSON, with unsafe characters as JSON escapes, so that it still means the same.

    Where standard output does not take all of Unicode, all but ASCII is escaped.
    """
    takes_unicode = codecs.lookup(sys.stdout.encoding or "utf-8").name.startswith("utf")
    lines = json.dumps(value, ensure_ascii=not takes_unicode, indent=indent).split("\n")
    return "\n".join(_UNSAFE.sub(lambda match: json.dumps(match[0])[1:-1], line) for line in lines)


class Plain:
    """A rich renderable with all its text escaped: a second protection after the one in the tables' cells."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield its segments, with the text escaped; rich's own control codes, such as colours, stay."""
        for segment in console.render(self._inner, options):
            yield segment if segment.control else Segment(plain_lines(segment.text), segment.style)


def _written_out(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
