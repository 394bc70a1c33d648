"""Webhooks: receivers of events, the URLs they may have, signatures, and the schedule of retries."""

import hashlib
import hmac
import re
import secrets
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from vpnkeys.domain.errors import Rejected
from vpnkeys.domain.event import Event, Kind
from vpnkeys.domain.networks import FORBIDDEN_TO_WEBHOOKS

URL_MAX_CHARS = 2000
TRIED_FOR = timedelta(hours=24)
"""A delivery is retried for this long, then given up."""
_LEAST_TRIES = 5
"""Before it is given up, even of an old event: a host that was off for days must not lose it to one failed try."""
_PAUSES_S = (1, 5, 30, 120, 600, 3600)
"""The pauses before the second try, the third and so on; the last one repeats."""
_JITTER = 0.2
"""Up to this share longer, so that deliveries that failed together are not retried all at once."""

# IPv6 addresses whose last 32 bits are the IPv4 address that is reached (RFC 4291, RFC 6052).
_CARRIES_IPV4 = tuple(ip_network(network) for network in ("::/96", "::ffff:0:0/96", "64:ff9b::/96"))
_IPV4_BITS = 0xFFFFFFFF


class InvalidWebhookUrl(Rejected):
    """The URL cannot or must not receive events."""

    code = "invalid_webhook_url"


@dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver of events. Empty `events` means all kinds. `secret` is stored in plain text: signing needs it."""

    id: str
    url: str
    secret: str
    events: tuple[Kind, ...]
    is_active: bool
    created_at: datetime

    def wants(self, kind: Kind) -> bool:
        """Return whether events of this kind are sent to it."""
        return self.is_active and (not self.events or kind in self.events)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery is one event for one webhook. `id` grows with time; times are UTC without an offset.

    It is settled, that is delivered or given up, when `next_try_at` is None.
    """

    id: int
    webhook_id: str
    event_id: str
    event: Kind
    body: str
    created_at: datetime
    attempts: int
    next_try_at: datetime | None
    delivered_at: datetime | None
    last_error: str

    def is_due(self, now: datetime) -> bool:
        """Return whether it should be tried now. A first try is always due."""
        if self.next_try_at is None or self.attempts == 0:
            return self.next_try_at is not None
        # Further away than any pause after so many tries: the clock was set back since, and nothing waits for that.
        longest_s = _pause_s(self.attempts, chance=1.0)
        return now >= self.next_try_at or self.next_try_at - now > timedelta(seconds=longest_s)

    def delivered(self, now: datetime) -> "Delivery":
        """Return the delivery after a successful try."""
        return replace(self, attempts=self.attempts + 1, next_try_at=None, delivered_at=now, last_error="")

    def failed(self, why: str, now: datetime, chance: float) -> "Delivery":
        """Return the delivery after a failed try, with its next time. `chance` (0 to 1) spreads the tries of many."""
        attempts = self.attempts + 1
        pause_s = _pause_s(attempts, chance)
        is_over = now - self.created_at >= TRIED_FOR and attempts >= _LEAST_TRIES
        next_try_at = None if is_over else now + timedelta(seconds=pause_s)
        return replace(self, attempts=attempts, next_try_at=next_try_at, last_error=why)


def _pause_s(attempts: int, chance: float) -> float:
    """Return the seconds between this many tries and the next."""
    return _PAUSES_S[min(attempts, len(_PAUSES_S)) - 1] * (1 + _JITTER * chance)


@dataclass(frozen=True, slots=True)
class SendResult:
    """The result of sending an event: the receiver's HTTP status, or in `error` the reason why there is none."""

    status: int | None
    error: str = ""

    @property
    def is_success(self) -> bool:
        """Whether the receiver accepted the event: only a 2xx status says so."""
        return self.status is not None and self.status // 100 == 2  # noqa: PLR2004 - HTTP's word for success

    @property
    def trouble(self) -> str:
        """The reason for the failure, empty after a success."""
        return "" if self.is_success else self.error or f"the receiver answered HTTP {self.status}"


SendWebhook = Callable[[str, Mapping[str, str], str], Awaitable[SendResult]]
"""Sends one POST with headers and a body to a URL, with a timeout. It never raises: a failure is a SendResult too."""


def new_webhook(url: str, events: Iterable[Kind], now: datetime) -> Webhook:
    """Return a webhook with a new secret, which has a token's prefix, so that scanners and our log recognise it."""
    secret = f"vpnk_hook_{secrets.token_urlsafe(32)}"
    return Webhook(str(uuid.uuid4()), url, secret, in_order(events), is_active=True, created_at=now)


def in_order(events: Iterable[Kind]) -> tuple[Kind, ...]:
    """Return each kind once, in the order of `Kind`."""
    chosen = set(events)
    return tuple(kind for kind in Kind if kind in chosen)


def signed_headers(webhook: Webhook, event_id: str, kind: Kind, body: str, now: datetime) -> dict[str, str]:
    """Return the headers of a delivery, with the signature.

    The signature covers the time in Unix seconds and the body, so that receivers can refuse a copy sent later.
    """
    now_s = int(now.replace(tzinfo=UTC).timestamp())
    signed = f"{now_s}.{body}".encode()
    return {
        "Content-Type": "application/json",
        "X-Vpnkeys-Event": kind.value,
        "X-Vpnkeys-Delivery": event_id,
        "X-Vpnkeys-Timestamp": str(now_s),
        "X-Vpnkeys-Signature": "v1=" + hmac.new(webhook.secret.encode(), signed, hashlib.sha256).hexdigest(),
    }


def ping(now: datetime) -> Event:
    """Return a test event, which an operator sends to check a receiver."""
    return Event(str(uuid.uuid4()), Kind.PING, now, {})


def parse_url(raw: str) -> str:
    """Return the URL without surrounding white space. Raises InvalidWebhookUrl when events may not be sent there.

    https is allowed to any machine, http to this one alone. The addresses of a name are checked at each delivery
    (`refusal_reason`), because they may change.
    """
    url = raw.strip()
    parts = _split(url)
    # [!-~] are the visible ASCII characters.
    if len(url) > URL_MAX_CHARS or re.fullmatch(r"[!-~]+", url) is None:
        msg = f"Give a URL of at most {URL_MAX_CHARS} ASCII characters; other letters in percent-encoding or punycode."
        raise InvalidWebhookUrl(msg)
    if parts.username is not None or parts.password is not None or "#" in url:
        raise InvalidWebhookUrl(
            "Give a URL without a user, a password and a fragment; each delivery is signed instead."
        )
    host = parts.hostname or ""
    is_local = is_this_machine(host)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_local):
        raise InvalidWebhookUrl(
            "Give an https:// URL; http:// is only for this machine, such as http://127.0.0.1:8080/"
        )
    if _is_address(host) and (why := refusal_reason(host, is_local=is_local)):
        raise InvalidWebhookUrl(f"Events are not sent there: {why}.")
    return url


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_fit = parts.port != 0 and re.fullmatch(r"[A-Za-z0-9._-]+|[0-9a-fA-F:.]+", parts.hostname or "") is not None
    except ValueError as error:
        raise InvalidWebhookUrl(f"This is not a URL: {error}.") from error
    if not is_fit:
        raise InvalidWebhookUrl("Give a URL such as https://example.com/hook")
    return parts


def is_this_machine(host: str) -> bool:
    """Return whether a URL's host names this machine: localhost or a loopback address, no other name."""
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def refusal_reason(address: str, *, is_local: bool) -> str:
    """Return why nothing is sent to an IP address, or "". `is_local` says that the URL itself names this machine."""
    ip = ip_address(address.partition("%")[0])  # without the zone of a link-local address, such as %eth0
    if isinstance(ip, IPv6Address) and not ip.is_loopback and any(ip in network for network in _CARRIES_IPV4):
        ip = ip_address(int(ip) & _IPV4_BITS)
    if any(ip in network for network in FORBIDDEN_TO_WEBHOOKS):
        return "its address is a link-local, multicast, tunnel or cloud metadata address"
    if ip.is_loopback and not is_local:
        return "its name resolves to this machine; give 127.0.0.1, [::1] or localhost to send events to this machine"
    return ""


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
