"""Requests as values, and how a client sends them: each is described once, for `Client` and `AsyncClient` alike."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from functools import wraps
from http import HTTPStatus
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from vpnkeys.client._errors import UnexpectedAnswer, error_of

A = TypeVar("A")
M = TypeVar("M", bound=BaseModel)
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Call(Generic[A]):
    """A request that is not sent yet, and how its answer is read; `read` raises ApiError."""

    read: Callable[[httpx.Response], A]
    method: str
    path: str
    options: Mapping[str, Any] = field(default_factory=dict)


def one(kind: type[M], method: str, path: str, **options: Any) -> Call[M]:  # noqa: ANN401 - httpx's options
    """Return a request whose answer is one object."""
    return answer(TypeAdapter(kind), method, path, **options)


def answer(kind: TypeAdapter[A], method: str, path: str, **options: Any) -> Call[A]:  # noqa: ANN401 - likewise
    """Return a request whose answer is of this kind."""
    return Call(lambda response: parsed(kind, checked(response)), method, path, options)


def text(method: str, path: str) -> Call[str]:
    """Return a request whose answer is text."""
    return Call(lambda response: checked(response).text, method, path)


def checked(response: httpx.Response) -> httpx.Response:
    """Return an answer that did what was asked. Raises the ApiError of any other."""
    if response.status_code != HTTPStatus.OK:
        raise error_of(response.status_code, json_of(response), response.headers)
    return response


def parsed(kind: TypeAdapter[A], response: httpx.Response) -> A:
    """Return the body of an answer as this kind. Raises UnexpectedAnswer."""
    try:
        return kind.validate_json(response.content)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "body"
        detail = f"The server's answer is not what it should be: {place}: {fault['msg']}"
        raise UnexpectedAnswer(response.status_code, "unexpected_answer", detail) from error


def json_of(response: httpx.Response) -> object:
    """Return the JSON of a body, or None when it is something else."""
    try:
        body: object = response.json()
    except (ValueError, RecursionError):  # the second: a body of brackets within brackets
        return None
    return body


class Sends(Protocol):
    """Sends requests, and waits for their answers."""

    def stream(self, method: str, path: str) -> AbstractContextManager[Iterator[bytes]]:
        """Return the body of an answer piece by piece, as it comes. Raises ApiError, also between two pieces."""
        ...

    def send(self, call: Call[A]) -> A:
        """Return the answer. Raises ApiError."""
        ...


class SendsAsync(Protocol):
    """Sends requests; answers are awaited."""

    def stream(self, method: str, path: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Return the body of an answer piece by piece, as it comes. Raises ApiError, also between two pieces."""
        ...

    async def send(self, call: Call[A]) -> A:
        """Return the answer. Raises ApiError."""
        ...


class Part:
    """A part of a client, which sends by the client's connections."""

    def __init__(self, http: Sends) -> None:
        self._http = http

    def send(self, call: Call[A]) -> A:
        """Send a request and return the answer. Raises ApiError."""
        return self._http.send(call)


class AsyncPart:
    """The same for an event loop."""

    def __init__(self, http: SendsAsync) -> None:
        self._http = http

    async def send(self, call: Call[A]) -> A:
        """Send a request and return the answer. Raises ApiError."""
        return await self._http.send(call)


class Request(Generic[P, A]):
    """A method that describes a request. On a part of a client it sends it, and returns what the request returns.

    This is all that differs between the two clients: the method of a `Part` returns the answer, that of an `AsyncPart`
    something to await.
    """

    def __init__(self, describe: Callable[Concatenate[Any, P], Call[A]]) -> None:
        self._describe = describe

    @overload
    def __get__(self, part: None, owner: type) -> Callable[Concatenate[Any, P], Call[A]]: ...

    @overload
    def __get__(self, part: Part, owner: type) -> Callable[P, A]: ...

    @overload
    def __get__(self, part: AsyncPart, owner: type) -> Callable[P, Awaitable[A]]: ...

    def __get__(self, part: Part | AsyncPart | None, owner: type) -> Callable[..., Any]:
        """Return the method of a part; of a class, the description itself."""
        if part is None:
            return self._describe

        @wraps(self._describe)
        def send(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - an answer, or something to await
            return part.send(self._describe(part, *args, **kwargs))

        return send
