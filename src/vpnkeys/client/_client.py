"""The clients: one object for one server, `Client` for threads and `AsyncClient` for event loops."""

import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import TypeAdapter

from vpnkeys.client._audit import AsyncAudit, Audit
from vpnkeys.client._backups import AsyncBackups, Backups
from vpnkeys.client._calls import AsyncPart, Call, Part, Request, checked, one, parsed, text
from vpnkeys.client._doors import AsyncDoors, Doors
from vpnkeys.client._events import EventReader, StreamEvent
from vpnkeys.client._http import AsyncHttp, Http, header, is_loopback
from vpnkeys.client._keys import AsyncKeys, Keys
from vpnkeys.client._nodes import AsyncNodes, Nodes
from vpnkeys.client._subscriptions import AsyncSubscriptions, Subscriptions
from vpnkeys.client._system import AsyncSystem, System
from vpnkeys.client._tls import context_for
from vpnkeys.client._tokens import AsyncTokens, Tokens
from vpnkeys.client._traffic import AllKeysTraffic, AsyncAllKeysTraffic
from vpnkeys.client._webhooks import AsyncWebhooks, Webhooks
from vpnkeys.wire.health import Health, Info

_HEALTH = TypeAdapter(Health)
# An agent reports every ten seconds, and a handshake for each costs more. The server closes others' before.
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=15)

TIMEOUT_S = 30.0
"""Making a key may wait some seconds for a server name; restarting Xray takes a few."""


class ClientRequests:
    """What is asked of a server as a whole."""

    @Request
    def info(self) -> Call[Info]:
        """Return the API's name and version. Needs no API key."""
        return one(Info, "GET", "/api/")

    @Request
    def health(self) -> Call[Health]:
        """Return how the server is, also when it is unhealthy. Needs no API key.

        Raises Unavailable without an answer.
        """
        return Call(_health, "GET", "/health")

    @Request
    def metrics(self) -> Call[str]:
        """Return the metrics of this moment, in Prometheus' text format."""
        return text("GET", "/metrics")


def _health(response: httpx.Response) -> Health:
    # An unhealthy server answers 503 with its health.
    is_health = response.headers.get("content-type", "").startswith("application/json")
    return parsed(_HEALTH, response if is_health else checked(response))


class Client(Part, ClientRequests):
    """A server's API. Use it as a context manager, or close it; it may be used from several threads at once.

    Every method raises ApiError, or one of its subclasses, when the server does not do what was asked.
    """

    _http: Http

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        *,
        verify: ssl.SSLContext | Path | str | bool = True,
        fingerprint: str | None = None,
        timeout: float = TIMEOUT_S,
    ) -> None:
        """Prepare a client of the server at `https://host:port`; nothing is sent yet.

        `fingerprint`: trust the certificate with this SHA-256 and no other. `verify`: a PEM file of certificates to
        trust, or a context of your own; by default the system's authorities. White space around the API key is left
        out. Raises ValueError, also for an API key that no header can have, or OSError when the PEM file cannot be
        read.
        """
        options = _options(base_url, api_key, verify=verify, fingerprint=fingerprint, timeout=timeout)
        self._use(httpx.Client(**options))

    @classmethod
    def local(cls, socket: Path, *, timeout: float = TIMEOUT_S) -> Self:
        """Return a client of the server on this machine, by the socket in its data directory; it needs no API key."""
        transport = httpx.HTTPTransport(uds=str(socket))
        return cls.over(httpx.Client(base_url="http://localhost", transport=transport, timeout=timeout))

    @classmethod
    def over(cls, client: httpx.Client) -> Self:
        """Return a client over your HTTP client, which has the base URL and the API key; both are closed together."""
        made = cls.__new__(cls)
        made._use(client)  # noqa: SLF001 - our own
        return made

    def _use(self, client: httpx.Client) -> None:
        self._http = Http(client)
        self.keys = Keys(self._http)
        self.nodes = Nodes(self._http)
        self.doors = Doors(self._http)
        self.traffic = AllKeysTraffic(self._http)
        self.subscriptions = Subscriptions(self._http)
        self.system = System(self._http)
        self.tokens = Tokens(self._http)
        self.audit = Audit(self._http)
        self.backups = Backups(self._http)
        self.webhooks = Webhooks(self._http)

    def events(self) -> Iterator[StreamEvent]:
        """Yield what changes, as it changes, until the server ends the stream; traffic comes every two seconds.

        Close the iterator, or the client, to end it from here. Raises what every method raises, at any step.
        """
        reader = EventReader()
        with self._http.stream("GET", "/api/events") as chunks:
            for chunk in chunks:
                yield from reader.feed(chunk)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def __enter__(self) -> Self:
        """Return the client; nothing is sent yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        self.close()


class AsyncClient(AsyncPart, ClientRequests):
    """The same for an event loop: every method returns something to await.

    Use it as an asynchronous context manager, or await `close`; it belongs to one event loop.
    """

    _http: AsyncHttp

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        *,
        verify: ssl.SSLContext | Path | str | bool = True,
        fingerprint: str | None = None,
        timeout: float = TIMEOUT_S,
    ) -> None:
        """Prepare a client, as `Client` does; nothing is sent yet."""
        options = _options(base_url, api_key, verify=verify, fingerprint=fingerprint, timeout=timeout)
        self._use(httpx.AsyncClient(**options))

    @classmethod
    def local(cls, socket: Path, *, timeout: float = TIMEOUT_S) -> Self:
        """Return a client of the server on this machine, by the socket in its data directory; it needs no API key."""
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        return cls.over(httpx.AsyncClient(base_url="http://localhost", transport=transport, timeout=timeout))

    @classmethod
    def over(cls, client: httpx.AsyncClient) -> Self:
        """Return a client over your HTTP client, which has the base URL and the API key; both are closed together."""
        made = cls.__new__(cls)
        made._use(client)  # noqa: SLF001 - our own
        return made

    def _use(self, client: httpx.AsyncClient) -> None:
        self._http = AsyncHttp(client)
        self.keys = AsyncKeys(self._http)
        self.nodes = AsyncNodes(self._http)
        self.doors = AsyncDoors(self._http)
        self.traffic = AsyncAllKeysTraffic(self._http)
        self.subscriptions = AsyncSubscriptions(self._http)
        self.system = AsyncSystem(self._http)
        self.tokens = AsyncTokens(self._http)
        self.audit = AsyncAudit(self._http)
        self.backups = AsyncBackups(self._http)
        self.webhooks = AsyncWebhooks(self._http)

    async def events(self) -> AsyncIterator[StreamEvent]:
        """Yield what changes, as `Client.events` does."""
        reader = EventReader()
        async with self._http.stream("GET", "/api/events") as chunks:
            async for chunk in chunks:
                for event in reader.feed(chunk):
                    yield event

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    async def __aenter__(self) -> Self:
        """Return the client; nothing is sent yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self.close()


def _options(
    base_url: str,
    api_key: str | None,
    *,
    verify: ssl.SSLContext | Path | str | bool,
    fingerprint: str | None,
    timeout: float,
) -> dict[str, Any]:
    """Return the options of an HTTP client for this server. Raises ValueError, OSError."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        msg = f"give a URL such as https://203.0.113.10:8000, not {base_url!r}: {error}"
        raise ValueError(msg) from error
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.host) and fingerprint is None):
        msg = f"give a URL such as https://203.0.113.10:8000, not {base_url!r}: without TLS anybody can read along"
        raise ValueError(msg)
    return {
        "base_url": url,
        "headers": header("X-API-Key", api_key) if api_key else {},
        "verify": context_for(verify=verify, fingerprint=fingerprint),
        "timeout": timeout,
        "limits": _LIMITS,
        "trust_env": not is_loopback(url.host),  # a proxy of the environment has no business on loopback
    }
