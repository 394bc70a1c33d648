"""Webhooks by themselves: where they may lead, how they are signed, when they are tried again."""

import hashlib
import hmac
import re
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnkeys.domain.event import Event, Kind, NewEvent
from vpnkeys.domain.webhook import (
    TRIED_FOR,
    Delivery,
    InvalidWebhookUrl,
    SendResult,
    new_webhook,
    parse_url,
    refusal_reason,
    signed_headers,
)

NOON = datetime(2025, 8, 5, 12)  # noqa: DTZ001 - UTC without an offset, as everywhere
NOON_S = 1754395200
MANUAL = Path(__file__).resolve().parents[2] / "docs" / "en" / "webhooks.md"


def delivery(created_at: datetime = NOON) -> Delivery:
    """One that was never tried."""
    return Delivery(1, "w", "e", Kind.KEY_CREATED, "{}", created_at, 0, created_at, None, "")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com:8443/a/b?c=d",
        "https://10.0.0.7/hook",
        "https://[2001:db8::1]/hook",
        "http://127.0.0.1:8080/hook",
        "http://127.9.9.9/",
        "http://[::1]:8080/",
        "http://localhost/hook",
        "https://localhost/hook",
        "https://xn--e1afmkfd.xn--p1ai/",
    ],
)
def test_where_events_may_go(url: str) -> None:
    """By TLS anywhere, and in the clear on this machine."""
    assert parse_url(f" {url}\n") == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "https://",
        "https:///path",
        "http://example.com/",
        "http://10.0.0.1/",
        "http://127.0.0.1.example.com/",
        "http://localhost.example.com/",
        "http://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[fe80::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[::ffff:169.254.169.254]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[fd00:ec2::254]/",
        "https://100.100.100.200/",
        "https://[2002:a9fe:a9fe::1]/",
        "https://[64:ff9b:1::a9fe:a9fe]/",
        "https://[::169.254.169.254]/",
        "https://0.0.0.0/",
        "https://[::]/",
        "https://224.0.0.1/",
        "https://user:password@example.com/",
        "https://user@example.com/",
        "https://example.com/#part",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com:port/",
        "https://exa mple.com/",
        "https://example.com/a\nb",
        "https://пример.рф/",
        "https://[::1/",
        "https://example.com/" + "x" * 2000,
        "https://exam\u2024ple.com/",
    ],
)
def test_where_events_must_not_go(url: str) -> None:
    """Wherever anybody on the way could read along, or where a cloud machine is told its secrets."""
    with pytest.raises(InvalidWebhookUrl):
        parse_url(url)


@given(url=st.text())
def test_any_text_is_a_url_or_is_refused(url: str) -> None:
    """With the one error that says so."""
    with suppress(InvalidWebhookUrl):
        assert parse_url(url) == url.strip()


def test_a_name_that_stands_for_this_machine_is_not_followed() -> None:
    """Unless the URL says so itself; metadata never."""
    assert refusal_reason("127.0.0.1", is_local=False)
    assert refusal_reason("::1", is_local=False)
    assert refusal_reason("::ffff:127.0.0.1", is_local=False)
    assert not refusal_reason("127.0.0.1", is_local=True)
    assert refusal_reason("169.254.169.254", is_local=True)
    assert refusal_reason("fe80::1%eth0", is_local=True)
    assert not refusal_reason("192.168.1.1", is_local=False)


def test_a_receiver_can_tell_what_is_genuine() -> None:
    """With the code of the manual, word for word: the right body in its time, and nothing else."""
    code = re.search(r"```python\n(.*?)```", MANUAL.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    manual: dict[str, object] = {}
    exec(code[1], manual)  # noqa: S102 - our own manual
    is_genuine = manual["is_genuine"]
    assert callable(is_genuine)
    webhook = new_webhook("https://example.com", (), NOON)
    body = Event.of(NewEvent(Kind.PING, {"name": "Мария"}), NOON).body()
    headers = signed_headers(webhook, "id", Kind.PING, body, NOON)
    timestamp, signature = headers["X-Vpnkeys-Timestamp"], headers["X-Vpnkeys-Signature"]
    raw, now = body.encode(), NOON_S + 299
    assert is_genuine(webhook.secret, timestamp, signature, raw, now)
    assert not is_genuine(webhook.secret, timestamp, signature, raw + b" ", now)
    assert not is_genuine(webhook.secret, timestamp, signature, raw, NOON_S + 301)
    assert not is_genuine(webhook.secret, timestamp, signature, raw, NOON_S - 301)
    assert not is_genuine(webhook.secret, str(NOON_S + 1), signature, raw, now)
    assert not is_genuine("another", timestamp, signature, raw, now)
    assert not is_genuine(webhook.secret, "soon", signature, raw, now)
    assert not is_genuine(webhook.secret, timestamp, "v1=", raw, now)


def test_the_signature_is_hmac_sha256_of_time_and_body() -> None:
    """In hex, with a version in front."""
    webhook = new_webhook("https://example.com", (), NOON)
    headers = signed_headers(webhook, "e-1", Kind.KEY_CREATED, '{"a":1}', NOON)
    expected = hmac.new(webhook.secret.encode(), f'{NOON_S}.{{"a":1}}'.encode(), hashlib.sha256).hexdigest()
    assert headers == {
        "Content-Type": "application/json",
        "X-Vpnkeys-Event": "key.created",
        "X-Vpnkeys-Delivery": "e-1",
        "X-Vpnkeys-Timestamp": str(NOON_S),
        "X-Vpnkeys-Signature": f"v1={expected}",
    }


def test_pauses_grow_to_an_hour_and_end_after_a_day() -> None:
    """1 s, 5 s, 30 s, 2 min, 10 min, then hourly; the first failure a day after the event is the last."""
    now, tried, pauses = NOON, delivery(), []
    while (next_try_at := (tried := tried.failed("why", now, 0.0)).next_try_at) is not None:
        pauses.append((next_try_at - now).total_seconds())
        now = next_try_at
    assert pauses[:7] == [1, 5, 30, 120, 600, 3600, 3600]
    assert set(pauses[5:]) == {3600}
    assert TRIED_FOR <= now - NOON < TRIED_FOR + timedelta(hours=1)
    assert (tried.attempts, tried.last_error, tried.is_due(now)) == (len(pauses) + 1, "why", False)


@given(chance=st.floats(0, 1))
def test_chance_only_makes_pauses_longer(chance: float) -> None:
    """By a fifth at most."""
    next_try_at = delivery().failed("why", NOON, chance).next_try_at
    assert next_try_at is not None
    assert timedelta(seconds=1) <= next_try_at - NOON <= timedelta(seconds=1.2)


def test_an_old_event_gets_five_tries() -> None:
    """A server that was off for days must not lose what it has to say to a single slip."""
    tried = delivery(NOON - timedelta(days=9))
    for _ in range(4):
        tried = tried.failed("why", NOON, 0.0)
        assert tried.next_try_at is not None
    assert tried.failed("why", NOON, 0.0).next_try_at is None


def test_what_was_never_tried_is_due_whatever_the_clock_says() -> None:
    """It may have been set back since; what was tried waits for its time."""
    assert delivery(NOON).is_due(NOON - timedelta(days=1))
    tried = delivery().failed("why", NOON, 0.0)
    assert not tried.is_due(NOON)
    assert tried.is_due(NOON + timedelta(seconds=1))
    assert not tried.delivered(NOON).is_due(NOON + timedelta(days=1))


@pytest.mark.parametrize("tries", range(1, 9))
def test_a_retry_does_not_wait_for_a_time_that_a_step_back_moved_away(tries: int) -> None:
    """However many tries there were: an hour back, it is due again after its own pause at most."""
    tried, now = delivery(), NOON
    for _ in range(tries):
        now = now if tried.attempts == 0 else tried.next_try_at or now
        tried = tried.failed("why", now, 1.0)
    assert tried.next_try_at is not None
    pause, now = tried.next_try_at - now, now - timedelta(hours=1)
    waits = (timedelta(seconds=second) for second in range(10_000))
    assert next(wait for wait in waits if tried.is_due(now + wait)) <= pause
    assert not tried.is_due(tried.next_try_at - pause)


@pytest.mark.parametrize(
    ("status", "is_success"), [(200, True), (204, True), (299, True), (199, False), (302, False), (500, False)]
)
def test_only_2xx_is_yes(status: int, is_success: bool) -> None:
    """A redirect is no."""
    assert SendResult(status).is_success is is_success
    assert bool(SendResult(status).trouble) is not is_success
    assert SendResult(None, "no way").trouble == "no way"
