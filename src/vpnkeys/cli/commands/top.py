"""`vpnkeys top`: a live view of the keys' rates."""

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

from vpnkeys.cli.failures import wrong_usage
from vpnkeys.cli.output.plain import Plain
from vpnkeys.cli.output.rates import KeyUsage, LiveUsage
from vpnkeys.cli.output.tables import short_bytes, table_of
from vpnkeys.cli.remote import Remote, asks_server, console_for
from vpnkeys.client import Client, StreamEvent, Unavailable, UnexpectedAnswer

_LOOK_S = 0.25
_LINES_AROUND = 5
"""The lines of the screen around the rows of keys."""
_TITLES = ("Name", ">Rate", ">Online", ">Used", "Status", ">Port", "ID")

_Received = SimpleQueue[tuple[float, StreamEvent] | Exception]


@asks_server
def top(
    remote: Remote,
    *,
    once: Annotated[bool, typer.Option("--once", help="Measure for two seconds, print once, and end.")] = False,
) -> None:
    """Show the current rate of each key, live, the highest first; q or Ctrl-C ends it."""
    if once:
        usage = _measured(remote.server)
        remote.show(usage.as_json(), _drawn(usage))
    elif remote.as_json or not sys.stdout.isatty():
        wrong_usage("top needs a terminal; elsewhere, or with --json, give --once")
    else:
        with suppress(KeyboardInterrupt):
            _live(remote.server)


def _measured(server: Client) -> LiveUsage:
    """Return the usage as soon as it has rates."""
    usage = LiveUsage()
    for event in server.events():
        _add(usage, event, time.monotonic())
        if usage.has_rates:
            return usage
    raise _ended()


def _live(server: Client) -> None:
    received: _Received = SimpleQueue()
    # A thread, because reading events blocks, and the keyboard is read meanwhile.
    threading.Thread(target=_listen, args=(server, received), name="events", daemon=True).start()
    usage, console = LiveUsage(), console_for(sys.stdout)
    with _calm_end(), _keyboard() as asked_to_end, Live(console=console, screen=True, auto_refresh=False) as live:
        while not asked_to_end(_LOOK_S):
            with suppress(Empty):
                while True:
                    _add_received(usage, received.get_nowait())
            live.update(Plain(_drawn(usage, console.height - _LINES_AROUND)), refresh=True)


def _listen(server: Client, received: _Received) -> None:
    try:
        for event in server.events():
            received.put((time.monotonic(), event))
        received.put(_ended())
    except Exception as error:  # noqa: BLE001 - any failure is raised again in the main thread
        received.put(error)


def _add_received(usage: LiveUsage, what: tuple[float, StreamEvent] | Exception) -> None:
    if isinstance(what, Exception):
        raise what
    at_s, event = what
    _add(usage, event, at_s)


def _add(usage: LiveUsage, event: StreamEvent, at_s: float) -> None:
    try:
        usage.add(event, at_s)
    except ValidationError as error:
        raise UnexpectedAnswer(
            None, "unexpected_answer", f"The server's event {event.name} does not have the expected form."
        ) from error


def _ended() -> Unavailable:
    return Unavailable(None, "ended", "The server has ended the connection.")


@contextmanager
def _calm_end() -> Iterator[None]:
    """Let signals end the block through all `finally` blocks, so that the terminal is restored; ignore Ctrl-Z."""
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)  # as shells report a program that was ended by a signal


@contextmanager
def _keyboard() -> Iterator[Callable[[float], bool]]:
    """Yield a function that waits up to some seconds and returns whether q was pressed. Typed keys are not shown."""
    if not sys.stdin.isatty():
        yield _wait
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)  # keys arrive without Enter; unlike in raw mode, Ctrl-C still interrupts
        yield lambda wait_s: bool(select.select([keyboard], [], [], wait_s)[0]) and os.read(keyboard, 1) in b"qQ"
    finally:
        # FLUSH drops keys that were typed meanwhile, which the shell would take for a command.
        termios.tcsetattr(keyboard, termios.TCSAFLUSH, before)


def _wait(wait_s: float) -> bool:
    time.sleep(wait_s)
    return False


def _drawn(live: LiveUsage, rows: int | None = None) -> RenderableType:
    """Return the table of the busiest keys, at most `rows` of them."""
    usage = live.usage()
    lines = [_line(one) for one in usage[: None if rows is None else max(rows, 1)]]
    online = sum(1 for one in usage if one.devices)
    rate = _rate(sum(one.rate_bytes_per_s or 0 for one in usage) if live.has_rates else None) or "measuring"
    health = live.health.status if live.health else "connecting"
    head = f"{health}   {len(usage)} keys   {online} online   {rate}"
    return Group(Text(head, style="bold"), Text(), table_of(_TITLES, lines))


def _line(one: KeyUsage) -> tuple[object, ...]:
    rate, used = _rate(one.rate_bytes_per_s), short_bytes(one.total_bytes)
    return one.name, rate, one.devices, used, one.status, one.port, one.key_id


def _rate(bytes_per_s: float | None) -> str | None:
    return None if bytes_per_s is None else f"{short_bytes(bytes_per_s)}/s"
