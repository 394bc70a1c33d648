"""Text of strangers, made harmless for a terminal: it shows what it is, and moves neither cursor nor neighbours.

Names are chosen by customers, errors by whatever server is asked. A terminal obeys control characters (ECMA-48), and
shows what stands beside directional marks (UAX #9) in another order than it is in.
"""

import json
import re
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment

# Controls, marks of direction, ends of line, what is invisible, and surrogates, which no terminal can be sent. Joiners
# (U+200C, U+200D) stay: Persian and emoji need them.
_UNSAFE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb"
    "\\ud800-\\udfff\\U000e0000-\\U000e007f]"
)


def plain(text: str) -> str:
    """The text in one line, with what is not harmless written out as Python writes it."""
    return _UNSAFE.sub(_written_out, text)


def plain_lines(text: str) -> str:
    """The same, but for its ends of line."""
    return "\n".join(plain(line) for line in text.split("\n"))


def plain_json(value: Any, indent: int | None = 2) -> str:  # noqa: ANN401 - JSON
    """JSON that means the same and is harmless as well."""
    lines = json.dumps(value, ensure_ascii=False, indent=indent).split("\n")
    return "\n".join(_UNSAFE.sub(lambda match: json.dumps(match[0])[1:-1], line) for line in lines)


class Plain:
    """Whatever rich can draw, with all of its text made harmless: the last net, behind that of the tables."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Its segments; rich's own control codes, such as colours, are not text."""
        for segment in console.render(self._inner, options):
            yield segment if segment.control else Segment(plain_lines(segment.text), segment.style)


def _written_out(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
