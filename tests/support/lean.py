"""An HTTP client that costs next to nothing, for measurements: http.client on one kept TLS connection."""

from __future__ import annotations

import http.client
import json
import ssl
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.support.service import Service

_TIMEOUT_S = 10.0


class LeanClient:
    """One connection to a server's API."""

    def __init__(self, connection: http.client.HTTPConnection, api_key: str) -> None:
        """Take a connection that is not made yet; entering makes it."""
        self._connection = connection
        self._headers = {"X-API-Key": api_key, "Content-Type": "application/json"}

    @classmethod
    def of(cls, service: Service, address: tuple[str, int] | None = None) -> Self:
        """A client of a service, or of whatever has its certificate at another address."""
        context = ssl.create_default_context(cafile=str(service.data_dir / "tls" / "cert.pem"))
        host, port = address or service.address
        return cls(http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context), service.api_key)

    @classmethod
    def unverified(cls, url: str, api_key: str) -> Self:
        """A client of any server, whose certificate nobody looks at."""
        parts = urlsplit(url)
        if parts.scheme == "http":
            return cls(http.client.HTTPConnection(parts.netloc, timeout=_TIMEOUT_S), api_key)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return cls(http.client.HTTPSConnection(parts.netloc, timeout=_TIMEOUT_S, context=context), api_key)

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:  # noqa: ANN401  (any JSON)
        """The JSON of a 200; anything else is an error. After a broken connection the next request makes a new one."""
        try:
            self._connection.request(method, path, body, self._headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise
        if answer.status != http.client.OK:
            where = f"{self._connection.host}:{self._connection.port}"
            raise RuntimeError(f"{method} {path} at {where}: {answer.status} {content.decode(errors='replace')}")
        return json.loads(content)

    def __enter__(self) -> Self:
        """Connect."""
        self._connection.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self._connection.close()
