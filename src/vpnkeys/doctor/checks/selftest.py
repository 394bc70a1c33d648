"""The self-test: it makes a key, sends bytes through its link, and always deletes the key again."""

import secrets
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import FrameType

from vpnkeys.client import ApiError, Client, Key, KeyLimits, KeyTest, NotFound, Unavailable
from vpnkeys.doctor.finding import Verdict, fail, ok

NAME = "vpnkeys doctor"
_NOTE = "made by vpnkeys doctor, which deletes it again"
_LIVES = timedelta(minutes=10)
"""The key expires after this, in case this program is killed and never run again."""

_LEFT_BEHIND = timedelta(minutes=1)
"""A younger key may belong to another doctor that still runs."""
_PATIENCE_S, _TRY_EVERY_S = 10.0, 0.5
_ASKED_TO_END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class SelfTestFacts:
    """The result of the test, or in `refusal` why there was none."""

    result: KeyTest | None
    refusal: str = ""


def look(server: Client) -> SelfTestFacts:
    """Make a key, test it, delete it, and return the result. Keys left behind by killed runs are deleted as well.

    A signal to end raises KeyboardInterrupt after the key is deleted. Raises ApiError when the key cannot be deleted.
    """
    limits = KeyLimits(note=_NOTE, expires_at=datetime.now(UTC) + _LIVES)
    # One idempotency key for all requests: after a lost answer the server returns the key that it made.
    attempt = secrets.token_urlsafe(16)

    def make() -> Key:
        return server.keys.create(NAME, attempt, **limits)

    with _signals(signal.default_int_handler):
        _delete_leftovers(server)
        may_exist = True
        try:
            try:
                key = make()
            except ApiError as error:
                may_exist = error.status is None  # with a status the server has answered, and made no key
                raise
            return SelfTestFacts(server.keys.test_key(key.id))
        except ApiError as error:
            return SelfTestFacts(None, error.detail)
        finally:
            if may_exist:
                _delete(server, make)


def judge(facts: SelfTestFacts) -> Iterable[Verdict]:
    """Report whether a new key's link works; customers have links like it."""
    test = facts.result
    if test is None:
        yield fail(f"no key could be made and tested: {facts.refusal}")
    elif not test.works:
        yield fail(f"a new key does not work: {test.detail}", "vpnkeys sync --restart")
    elif test.egress.works is False or not test.counted:
        yield fail(test.detail, "" if test.counted else "vpnkeys sync")
    else:
        yield ok(
            f"a new key carried {test.bytes_received} bytes, the first after {test.first_byte_ms or 0:.0f} ms; "
            f"way out: {test.egress.detail}"
        )


def _delete_leftovers(server: Client) -> None:
    for key in server.keys.list():
        if (key.name, key.note) == (NAME, _NOTE) and datetime.now(UTC) - key.created_at > _LEFT_BEHIND:
            with suppress(NotFound):
                server.keys.delete(key.id)


def _delete(server: Client, make: Callable[[], Key]) -> None:
    """Delete the key, also when the answer to its creation was lost: the same idempotency key returns the same key.

    Signals to end are held back until it is deleted. Raises ApiError when that fails.
    """
    asked_to_end: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        asked_to_end.append(number)

    deadline = time.monotonic() + _PATIENCE_S
    with _signals(note):
        while True:
            try:
                with suppress(NotFound):
                    server.keys.delete(make().id)
                break
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_TRY_EVERY_S)
    if asked_to_end:
        raise KeyboardInterrupt


@contextmanager
def _signals(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Handle the signals that end a program with this handler during the block."""
    before = {number: signal.signal(number, handler) for number in _ASKED_TO_END}
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)
