"""The actor of the current request: set where a request enters, read where the audit log is written.

It is kept in a context variable, so that each task and thread has its own and no call has to pass it on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """An actor is the user, token or server that makes a change.

    `name` is written to the audit log; `origin` says where the request came from, such as an address; `request_id` is
    empty for changes that no HTTP request asked for.
    """

    name: str
    origin: str
    request_id: str = ""


SERVER = Actor("vpnkeys", "server")
"""The server itself, which enforces limits and repairs drift."""

_current: ContextVar[Actor] = ContextVar("actor", default=SERVER)


def current_actor() -> Actor:
    """Return the actor of this task or thread; `SERVER` where none was set."""
    return _current.get()


def set_actor(actor: Actor) -> None:
    """Set the actor for the rest of this task or thread."""
    _current.set(actor)


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Set the actor for the block, and restore the one before it at the end."""
    token = _current.set(actor)
    try:
        yield
    finally:
        _current.reset(token)
