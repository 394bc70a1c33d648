"""Connections: where requests go out and answers come in."""

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import quote

import httpx

from vpnkeys.client._calls import Call, checked
from vpnkeys.client._errors import Unavailable, UnexpectedAnswer

A = TypeVar("A")


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


def header(name: str, value: str) -> dict[str, str]:
    """Return a header, without white space around its value. Raises ValueError, which does not show the value."""
    value = value.strip()  # a key read from a file has the end of its line, in files of Windows a carriage return too
    if not (value.isascii() and value.isprintable()):
        msg = f"the value for {name} has characters that no header can have; copy it again, without quotes or line ends"
        raise ValueError(msg)
    return {name: value}


class Http:
    """One connection pool to one server."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def send(self, call: Call[A]) -> A:
        """Send a request and return the answer. Raises ApiError."""
        with _translated():
            response = self._client.request(call.method, call.path, **call.options)
        return call.read(response)

    @contextmanager
    def stream(self, method: str, path: str) -> Iterator[Iterator[bytes]]:
        """Yield the body of an answer piece by piece, as it comes. Raises ApiError, also between two pieces."""
        with _translated(), self._client.stream(method, path) as response:
            if response.status_code != HTTPStatus.OK:
                response.read()
            yield checked(response).iter_bytes()


class AsyncHttp:
    """One connection pool to one server, for an event loop."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def send(self, call: Call[A]) -> A:
        """Send a request and return the answer. Raises ApiError."""
        with _translated():
            response = await self._client.request(call.method, call.path, **call.options)
        return call.read(response)

    @asynccontextmanager
    async def stream(self, method: str, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield the body of an answer piece by piece, as it comes. Raises ApiError, also between two pieces."""
        with _translated():
            async with self._client.stream(method, path) as response:
                if response.status_code != HTTPStatus.OK:
                    await response.aread()
                yield checked(response).aiter_bytes()


@contextmanager
def _translated() -> Iterator[None]:
    """Raise Unavailable for what goes wrong on the way, and UnexpectedAnswer for a body that cannot be unpacked."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise Unavailable(None, "timeout", "The server did not answer in time.") from error
    except httpx.LocalProtocolError as error:
        # Its text would show the API key where that is what cannot be sent.
        detail = "The request cannot be sent: look for characters in its headers that HTTP does not allow."
        raise Unavailable(None, "unreachable", detail) from error
    except httpx.TransportError as error:
        if isinstance(_root(error), ssl.SSLCertVerificationError):
            detail = f"The server is not the one expected: {_root(error)}"
            raise Unavailable(None, "untrusted_certificate", detail) from error
        raise Unavailable(None, "unreachable", f"The server cannot be reached: {error}") from error
    except httpx.DecodingError as error:
        detail = f"The server's answer cannot be unpacked: {error}; a proxy on the way may have broken it"
        raise UnexpectedAnswer(None, "unexpected_answer", detail) from error


def _root(error: BaseException) -> BaseException:
    """Return the first cause: httpx and httpcore each wrap what the one below raised."""
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    return error
