"""Who is doing what is being done: known where a request comes in, asked where a change is written down."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who changes things: by what name, from where, in which request."""

    name: str
    origin: str
    request_id: str = ""


SERVER = Actor("vpnkeys", "server")
"""The server by itself: limits that strike, repairs."""

_current: ContextVar[Actor] = ContextVar("actor", default=SERVER)


def current_actor() -> Actor:
    """Whoever acts in this task or thread."""
    return _current.get()


def set_actor(actor: Actor) -> None:
    """Let this actor answer for the rest of the present task or thread."""
    _current.set(actor)


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Let this actor answer for what the block does."""
    token = _current.set(actor)
    try:
        yield
    finally:
        _current.reset(token)
