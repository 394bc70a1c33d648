"""Requests out, answers in: what all methods share."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from vpnkeys.client._errors import Unavailable, UnexpectedAnswer, error_of

A = TypeVar("A")
M = TypeVar("M", bound=BaseModel)


def is_loopback(host: str) -> bool:
    """Return whether a host of a URL is this machine."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def key_path(id_or_uuid: str, *more: str) -> str:
    """Return the path of a key. Raises ValueError for what would be another path."""
    return path_below("/api/keys", id_or_uuid, *more)


def path_below(path: str, name: str, *more: str) -> str:
    """Return the path of the thing with this name or id. Raises ValueError for what would be another path."""
    if name in {"", ".", ".."}:
        raise ValueError("give an id or a name; this is neither")
    return "/".join([path, quote(name, safe=""), *more])


class Http:
    """One connection pool to one server."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def one(self, kind: type[M], method: str, path: str, **options: Any) -> M:  # noqa: ANN401 - httpx's options
        """Send a request and return an answer that is one object. Raises ApiError."""
        return self.answer(TypeAdapter(kind), method, path, **options)

    def answer(self, kind: TypeAdapter[A], method: str, path: str, **options: Any) -> A:  # noqa: ANN401 - likewise
        """Send a request and return an answer of this kind. Raises ApiError."""
        response = self.response(method, path, **options)
        if response.status_code != HTTPStatus.OK:
            raise error_of(response.status_code, json_of(response), response.headers)
        return parsed(kind, response)

    def text(self, method: str, path: str) -> str:
        """Send a request and return an answer that is text. Raises ApiError."""
        response = self.response(method, path)
        if response.status_code != HTTPStatus.OK:
            raise error_of(response.status_code, json_of(response), response.headers)
        return response.text

    def response(self, method: str, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401 - likewise
        """Send a request and return the answer, whatever its status. Raises Unavailable when there is none."""
        with _translated():
            return self._client.request(method, path, **options)

    @contextmanager
    def stream(self, method: str, path: str) -> Iterator[Iterator[bytes]]:
        """Yield the body of an answer piece by piece, as it comes. Raises ApiError, also between two pieces."""
        with _translated(), self._client.stream(method, path) as response:
            if response.status_code != HTTPStatus.OK:
                response.read()
                raise error_of(response.status_code, json_of(response), response.headers)
            yield response.iter_bytes()


@contextmanager
def _translated() -> Iterator[None]:
    """Raise Unavailable for what goes wrong on the way."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise Unavailable(None, "timeout", "The server did not answer in time.") from error
    except httpx.TransportError as error:
        if isinstance(_root(error), ssl.SSLCertVerificationError):
            detail = f"The server is not the one expected: {_root(error)}"
            raise Unavailable(None, "untrusted_certificate", detail) from error
        raise Unavailable(None, "unreachable", f"The server cannot be reached: {error}") from error


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
    except ValueError:
        return None
    return body


def _root(error: BaseException) -> BaseException:
    """Return the first cause: httpx and httpcore each wrap what the one below raised."""
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    return error
