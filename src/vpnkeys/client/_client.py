"""The client: one object for one server."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from pydantic import TypeAdapter

from vpnkeys.client._audit import Audit
from vpnkeys.client._backups import Backups
from vpnkeys.client._errors import error_of
from vpnkeys.client._events import StreamEvent, events_in
from vpnkeys.client._http import Http, is_loopback, json_of, parsed
from vpnkeys.client._keys import Keys
from vpnkeys.client._system import System
from vpnkeys.client._tls import context_for
from vpnkeys.client._tokens import Tokens
from vpnkeys.client._traffic import AllKeysTraffic
from vpnkeys.client._webhooks import Webhooks
from vpnkeys.wire.health import Health, Info

_HEALTH = TypeAdapter(Health)

TIMEOUT_S = 30.0
"""Making a key may wait some seconds for a server name; restarting Xray takes a few."""


class Client:
    """A server's API. Use it as a context manager, or close it; it may be used from several threads at once.

    Every method raises ApiError, or one of its subclasses, when the server does not do what was asked.
    """

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
        trust, or a context of your own; by default the system's authorities. Raises ValueError, or OSError when the
        PEM file cannot be read.
        """
        url = httpx.URL(base_url)
        if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.host) and fingerprint is None):
            msg = f"give a URL such as https://203.0.113.10:8000, not {base_url!r}: without TLS anybody can read along"
            raise ValueError(msg)
        self._use(
            httpx.Client(
                base_url=url,
                headers={"X-API-Key": api_key} if api_key else {},
                verify=context_for(verify=verify, fingerprint=fingerprint),
                timeout=timeout,
                trust_env=not is_loopback(url.host),  # a proxy of the environment has no business on loopback
            )
        )

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
        self.traffic = AllKeysTraffic(self._http)
        self.system = System(self._http)
        self.tokens = Tokens(self._http)
        self.audit = Audit(self._http)
        self.backups = Backups(self._http)
        self.webhooks = Webhooks(self._http)

    def info(self) -> Info:
        """Return the API's name and version. Needs no API key."""
        return self._http.one(Info, "GET", "/api/")

    def health(self) -> Health:
        """Return how the server is, also when it is unhealthy. Needs no API key.

        Raises Unavailable without an answer.
        """
        response = self._http.response("GET", "/health")
        if response.headers.get("content-type", "").startswith("application/json"):
            return parsed(_HEALTH, response)
        raise error_of(response.status_code, json_of(response), response.headers)

    def metrics(self) -> str:
        """Return the metrics of this moment, in Prometheus' text format."""
        return self._http.text("GET", "/metrics")

    def events(self) -> Iterator[StreamEvent]:
        """Yield what changes, as it changes, until the server ends the stream; traffic comes every two seconds.

        Close the iterator, or the client, to end it from here. Raises what every method raises, at any step.
        """
        with self._http.stream("GET", "/api/events") as chunks:
            yield from events_in(chunks)

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
