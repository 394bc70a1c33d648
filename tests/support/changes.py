"""What customers, sellers and operators do to a server, and what each answer promises, kept until it is checked."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar

import httpx

from tests.support.keys import Key, link_of, make_key
from tests.support.link import VlessLink
from tests.support.service import Service
from tests.support.socks import Address
from tests.support.streams import ByteServer, TransferError, transfer

GONE = "gone"
QUOTA_BYTES = 1_000_000
EXPIRES_IN_S = 2.0
_DOWNLOAD_FOR_S = 10.0

_HELD = ("stop_pending", "not_written")
"""A 503 with one of these codes says that the key is stopped, or stops as soon as it can."""


@dataclass
class Change:
    """One change. It makes its key while all is well; what that may be found as afterwards is `allowed`, by status.

    `link` is the key's before the change, `sock` a connection of its customer to the byte server, by `proxy`. `answer`
    stays None where a connection ended without one.
    """

    service: Service
    key: Key | None = field(default=None, init=False)
    link: VlessLink | None = field(default=None, init=False)
    proxy: Address | None = field(default=None, init=False)
    sock: socket.socket | None = field(default=None, init=False)
    answer: httpx.Response | None = field(default=None, init=False)
    is_limit: ClassVar[bool] = False
    """Whether it comes about by itself, without a request."""

    @property
    def name(self) -> str:
        """What failures call it."""
        return type(self).__name__

    @property
    def path(self) -> str:
        """Where the key is."""
        assert self.key is not None
        return f"/api/keys/{self.key['id']}"

    def prepare(self) -> None:
        """Make the key."""
        self.key = make_key(self.service, self.name)
        self.link = link_of(self.service, self.key)

    def set_up(self) -> None:
        """Do what has to be done shortly before the fault, when the customer is in."""

    def make(self, client: httpx.Client, byte_server: ByteServer) -> None:
        """Make the change, and keep the answer."""
        del byte_server
        with suppress(httpx.TransportError):
            self.answer = self.ask(client)

    def ask(self, client: httpx.Client) -> httpx.Response | None:
        """Send the request."""
        raise NotImplementedError

    def finish(self, byte_server: ByteServer, ended: float) -> None:
        """Do what remains to be done after the fault, which `ended` at that time."""

    @property
    def code(self) -> str:
        """The answer's code: "200", the word of a problem, or "" without an answer."""
        if self.answer is None:
            return ""
        return "200" if self.answer.status_code == httpx.codes.OK else str(self.answer.json()["code"])

    def allowed(self) -> set[str]:
        """The statuses in which the key may be found."""
        return {"active"}

    def found(self, keys: list[Key]) -> str:
        """The status in which the key is."""
        return next((key["status"] for key in keys if self.key and key["id"] == self.key["id"]), GONE)

    def broken_by(self, keys: list[Key]) -> list[str]:
        """Where these keys do not keep what was promised."""
        found, allowed = self.found(keys), self.allowed()
        what = f"{self.name}, answered {self.code!r}: the key is {found}, not {' or '.join(sorted(allowed))}"
        return [] if found in allowed else [what]

    def _set(self, **fields: Any) -> None:  # noqa: ANN401 - JSON
        self.service.client.patch(self.path, json=fields).raise_for_status()

    def _stopped(self, status: str) -> set[str]:
        """What a request to stop allows, by its answer."""
        if not self.code:
            return {"active", status}
        return {status} if self.code in {"200", *_HELD} else {"active"}


class Create(Change):
    """A key is made: 200 is a key that works, anything else is none."""

    def prepare(self) -> None:
        """Choose a name that no other key has."""
        self.unique = f"created {time.monotonic_ns()}"

    def ask(self, client: httpx.Client) -> httpx.Response:
        """Send the request."""
        return client.post("/api/keys", json={"name": self.unique})

    def allowed(self) -> set[str]:
        """All or nothing."""
        return {"200": {"active"}, "": {"active", GONE}}.get(self.code, {GONE})

    def found(self, keys: list[Key]) -> str:
        """By its name: without an answer there is no id."""
        named = [key for key in keys if key["name"] == self.unique]
        self.key = named[0] if named else None
        return " and ".join(key["status"] for key in named) or GONE


class Delete(Change):
    """A key is deleted."""

    def ask(self, client: httpx.Client) -> httpx.Response:
        """Send the request."""
        return client.delete(self.path)

    def allowed(self) -> set[str]:
        """Gone once that is written, or will be."""
        return self._stopped(GONE)


class Disable(Change):
    """A key is switched off."""

    def ask(self, client: httpx.Client) -> httpx.Response:
        """Send the request."""
        return client.patch(self.path, json={"is_active": False})

    def allowed(self) -> set[str]:
        """Disabled once that is written, or will be."""
        return self._stopped("disabled")


class Expire(Change):
    """A key's date comes."""

    is_limit = True

    def set_up(self) -> None:
        """Set the date; the fault comes first."""
        at = (datetime.now(UTC) + timedelta(seconds=EXPIRES_IN_S)).isoformat()
        self._set(expires_at=at)

    def ask(self, client: httpx.Client) -> None:
        """Time passes by itself."""

    def allowed(self) -> set[str]:
        """The date was acknowledged."""
        return {"expired"}


class UseUp(Change):
    """A key's traffic limit is reached."""

    is_limit = True

    def prepare(self) -> None:
        """Set the limit."""
        super().prepare()
        self._set(traffic_limit_bytes=QUOTA_BYTES)

    def make(self, client: httpx.Client, byte_server: ByteServer) -> None:
        """Download more than that, as far as it gets."""
        assert self.sock is not None
        with suppress(OSError, TransferError):
            transfer(self.sock, 0, 2 * QUOTA_BYTES)

    def finish(self, byte_server: ByteServer, ended: float) -> None:
        """Download again until nothing comes any more: what an Xray that died had counted is lost."""
        assert self.proxy is not None
        while time.monotonic() < ended + _DOWNLOAD_FOR_S and not self._is_limited():
            with suppress(OSError, TransferError), byte_server.open(self.proxy, timeout=2.0) as sock:
                transfer(sock, 0, QUOTA_BYTES)
            time.sleep(0.2)

    def _is_limited(self) -> bool:
        with suppress(httpx.TransportError):
            return bool(self.service.client.get(self.path).json().get("status") == "limited")
        return False

    def allowed(self) -> set[str]:
        """The limit was acknowledged."""
        return {"limited"}


class ResetPorts(Change):
    """All keys get the lowest ports."""

    def prepare(self) -> None:
        """Leave a gap below the key, so that it has to move."""
        below = make_key(self.service, "below")
        super().prepare()
        self.service.client.delete(f"/api/keys/{below['id']}").raise_for_status()

    def ask(self, client: httpx.Client) -> httpx.Response:
        """Send the request."""
        return client.post("/api/system/ports/reset")


class Sync(Change):
    """Everything is brought in line with the database."""

    def ask(self, client: httpx.Client) -> httpx.Response:
        """Send the request."""
        return client.post("/api/system/sync-config")


CHANGES: MappingProxyType[str, type[Change]] = MappingProxyType(
    {
        "create": Create,
        "delete": Delete,
        "disable": Disable,
        "expiry": Expire,
        "quota": UseUp,
        "ports/reset": ResetPorts,
        "sync-config": Sync,
    }
)
