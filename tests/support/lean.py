"""An HTTP client that costs next to nothing, for measurements: http.client on one kept TLS connection."""

from __future__ import annotations

import http.client
import json
import ssl
from types import TracebackType
from typing import Any, Self

from tests.support.service import Service


class LeanClient:
    """One connection to a service's API."""

    def __init__(self, service: Service, address: tuple[str, int] | None = None) -> None:
        """Prepare, for a service's API or for whatever has its certificate at another address; entering connects."""
        context = ssl.create_default_context(cafile=str(service.data_dir / "tls" / "cert.pem"))
        host, port = address or service.address
        self._connection = http.client.HTTPSConnection(host, port, timeout=10.0, context=context)
        self._headers = {"X-API-Key": service.api_key, "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:  # noqa: ANN401  (any JSON)
        """The JSON of a 200; anything else is an error."""
        self._connection.request(method, path, body, self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{method} {path}: {answer.status} {content!r}")
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
