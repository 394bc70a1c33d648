"""`vpnkeys top`: who uses how much, live."""

import os
import select
import signal
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from vpnkeys.cli.output.plain import Plain
from vpnkeys.cli.output.rates import Board, Usage
from vpnkeys.cli.output.tables import short_bytes, table_of
from vpnkeys.cli.remote import Session, asks_server, console_for, wrong_usage
from vpnkeys.client import Client, Event, Unavailable, UnexpectedAnswer

_LOOK_S = 0.25
_LINES_AROUND = 5
_TITLES = ("Name", ">Rate", ">Online", ">Used", "Status", ">Port", "ID")

_Told = SimpleQueue[tuple[float, Event] | Exception]


@asks_server
def top(
    session: Session,
    *,
    once: Annotated[bool, typer.Option("--once", help="Measure for two seconds, print once, and end.")] = False,
) -> None:
    """Who uses how much at this moment, live, the busiest first; q or Ctrl-C ends it."""
    if once:
        board = _measured(session.server)
        session.tell(board.as_json(), _drawn(board))
    elif session.as_json or not sys.stdout.isatty():
        wrong_usage("top is for a terminal; give --once, which goes with --json")
    else:
        with suppress(KeyboardInterrupt):
            _live(session.server)


def _measured(server: Client) -> Board:
    """What was told until there are rates."""
    board = Board()
    for event in server.events():
        _take(board, event, time.monotonic())
        if board.has_rates:
            return board
    raise _ended()


def _live(server: Client) -> None:
    told: _Told = SimpleQueue()
    threading.Thread(target=_listen, args=(server, told), name="events", daemon=True).start()
    board, console = Board(), console_for(sys.stdout)
    with _calm_end(), _keyboard() as asked_to_end, Live(console=console, screen=True, auto_refresh=False) as live:
        while not asked_to_end(_LOOK_S):
            with suppress(Empty):
                while True:
                    _take_told(board, told.get_nowait())
            live.update(Plain(_drawn(board, console.height - _LINES_AROUND)), refresh=True)


def _listen(server: Client, told: _Told) -> None:
    try:
        for event in server.events():
            told.put((time.monotonic(), event))
        told.put(_ended())
    except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where somebody can tell it
        told.put(error)


def _take_told(board: Board, what: tuple[float, Event] | Exception) -> None:
    if isinstance(what, Exception):
        raise what
    at_s, event = what
    _take(board, event, at_s)


def _take(board: Board, event: Event, at_s: float) -> None:
    try:
        board.take(event, at_s)
    except ValidationError as error:
        raise UnexpectedAnswer(
            None, "unexpected_answer", f"The server's event {event.name} is not as it should be."
        ) from error


def _ended() -> Unavailable:
    return Unavailable(None, "ended", "The server has ended the connection.")


@contextmanager
def _calm_end() -> Iterator[None]:
    """Asked by a signal to end, leave by all `finally`s; not to be stopped in the middle of the screen."""
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


@contextmanager
def _keyboard() -> Iterator[Callable[[float], bool]]:
    """Waits for so many seconds whether q is pressed. Keys come one by one meanwhile, and are not shown."""
    if not sys.stdin.isatty():
        yield _wait
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        yield lambda wait_s: bool(select.select([keyboard], [], [], wait_s)[0]) and os.read(keyboard, 1) in b"qQ"
    finally:
        termios.tcsetattr(keyboard, termios.TCSAFLUSH, before)


def _wait(wait_s: float) -> bool:
    time.sleep(wait_s)
    return False


def _drawn(board: Board, rows: int | None = None) -> RenderableType:
    """The board, as many keys of it as fit."""
    usage = board.usage()
    lines = [_line(one) for one in usage[: None if rows is None else max(rows, 1)]]
    online = sum(1 for one in usage if one.devices)
    rate = _rate(sum(one.rate_bytes_per_s or 0 for one in usage) if board.has_rates else None) or "measuring"
    health = board.health.status if board.health else "connecting"
    head = f"{health}   {len(usage)} keys   {online} online   {rate}"
    return Group(Text(head, style="bold"), Text(), table_of(_TITLES, lines))


def _line(one: Usage) -> tuple[object, ...]:
    rate, used = _rate(one.rate_bytes_per_s), short_bytes(one.total_bytes)
    return one.name, rate, one.devices, used, one.status, one.port, one.key_id


def _rate(bytes_per_s: float | None) -> str | None:
    return None if bytes_per_s is None else f"{short_bytes(bytes_per_s)}/s"
