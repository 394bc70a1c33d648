"""Draws an address as a QR code on the terminal, or says why that cannot be read there."""

import io
import os
import shutil
import sys

# Black on white by fixed numbers of xterm's 256 colours, which themes do not change: a camera sees the same on dark
# and light terminals.
_BLACK_ON_WHITE, _RESET = "\x1b[38;5;16;48;5;231m", "\x1b[0m"
_BLOCKS = " ▀▄█"
_DARKENED = str.maketrans(_BLOCKS, "█▄▀ ")


class NotDrawn(Exception):
    """Says why this terminal cannot show the QR code, and what would help."""


def picture(address: str) -> str:
    """Return a QR code in half-block characters for standard output. Raises NotDrawn.

    Without colours it can be scanned on dark terminals only.
    """
    drawn = io.StringIO()
    # The lowest error correction gives the smallest code, which fits more terminals.
    import segno  # noqa: PLC0415 - most commands draw none

    segno.make_qr(address, error="l").terminal(drawn, compact=True)
    *lines, last = drawn.getvalue().splitlines()
    _require_characters()
    _require_width(len(last))
    if not _takes_colours():
        return drawn.getvalue()
    blank = " " * len(last)  # each line draws two rows; the last has the border's last row and an empty one
    dark = (line.translate(_DARKENED) for line in lines)
    return "".join(f"{_BLACK_ON_WHITE}{line}{_RESET}\n" for line in (*dark, blank))


def _require_characters() -> None:
    encoding = sys.stdout.encoding or "utf-8"
    try:
        _BLOCKS.encode(encoding)
    except UnicodeEncodeError as error:
        msg = f"The character set of this terminal ({encoding}) has no blocks to draw the QR code of: use a UTF-8 one"
        raise NotDrawn(msg) from error


def _require_width(width: int) -> None:
    if not sys.stdout.isatty():
        return
    columns = shutil.get_terminal_size((width, 0)).columns
    if columns < width:
        msg = f"The QR code is {width} columns wide, and this terminal {columns}: make its window wider"
        raise NotDrawn(msg)


def _takes_colours() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
