"""An unknown field is refused where it is close to a known one, and ignored otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from pydantic import BaseModel, ValidationError

from vpnkeys.wire import base
from vpnkeys.wire.keys import KeyChange, NewKey, NewKeys
from vpnkeys.wire.sessions import SignIn
from vpnkeys.wire.unknown import field_meant

CLOSE = {
    "traffic_limit": "traffic_limit_bytes",
    "traffic_limit_byte": "traffic_limit_bytes",
    "trafic_limit_bytes": "traffic_limit_bytes",
    "trafficLimitBytes": "traffic_limit_bytes",
    "Traffic-Limit": "traffic_limit_bytes",
    "traffic_gb": "traffic_limit_bytes",
    "trafic_limit": "traffic_limit_bytes",
    "total_gb": "traffic_limit_bytes",
    "totalGB": "traffic_limit_bytes",
    "data_limit": "traffic_limit_bytes",
    "expires": "expires_at",
    "expire": "expires_at",
    "expiry": "expires_at",
    "expiryTime": "expires_at",
    "expires_in": "expires_at",
    "expired_at": "expires_at",
    "exipres_at": "expires_at",
    "limit_ip": "max_devices",
    "limitIp": "max_devices",
    "max_device": "max_devices",
    "maxdevices": "max_devices",
    "max_devces": "max_devices",
    "speed": "speed_limit_mbps",
    "speed_limit": "speed_limit_mbps",
    "speed_limit_mbs": "speed_limit_mbps",
    "enabled": "is_active",
    "active": "is_active",
    "isActive": "is_active",
    "notes": "note",
    "not": "note",
    "names": "name",
    "Name": "name",
    "shortid": "short_id",
    "sid": "short_id",
    "server_name": "sni",
    "ports": "port",
    "prot": "port",
    "UUID": "uuid",
    "fp": "fingerprint",
    "finger_print": "fingerprint",
}
FAR = [
    "user_id",
    "telegram_id",
    "tg_id",
    "uid",
    "id",
    "days",
    "game",
    "post",
    "type",
    "email",
    "plan",
    "username",
    "name_ru",
    "short_name",
    "max",
    "key",
    "",
    "имя",
    "x" * 10_000,
]


@pytest.mark.parametrize(("given", "meant"), CLOSE.items())
def test_what_is_close_is_refused_and_the_field_named(given: str, meant: str) -> None:
    """A typo must not sell an unlimited key."""
    with pytest.raises(ValidationError, match=f"{given}: there is no such field; if {meant} is meant, send that"):
        NewKey.model_validate({"name": "x", given: 1})


@pytest.mark.parametrize("given", FAR)
def test_what_is_far_is_ignored_and_listed(given: str) -> None:
    """Bots of the 2.3 line may send fields of their own."""
    new = NewKey.model_validate({"name": "x", given: {"any": ["thing"]}})
    assert new.ignored_fields == (given,)
    assert new == NewKey.model_validate({"name": "x", given: {"any": ["thing"]}})


def _many(count: int) -> dict[str, int]:
    return {f"own_{number}": number for number in range(count)}


def _compared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All names that are compared with known ones from now on."""
    base._meant.cache_clear()
    names: list[str] = []

    def counted(name: str, fields: Iterable[str], others: Mapping[str, str]) -> str | None:
        names.append(name)
        return field_meant(name, fields, others)

    monkeypatch.setattr(base, "field_meant", counted)
    return names


@pytest.mark.parametrize(
    ("body", "given"),
    [
        (NewKey, {"name": "x", **_many(21)}),
        (KeyChange, _many(10_000)),
        (SignIn, {"token": "x", **_many(10_000)}),
        (NewKeys, {"keys": [{"name": "x", f"own_{number}": 1} for number in range(21)]}),
        (NewKeys, {"keys": [], **_many(21)}),
    ],
)
def test_many_that_are_unknown_are_refused_unread(
    monkeypatch: pytest.MonkeyPatch, body: type[BaseModel], given: dict[str, object]
) -> None:
    """Comparing ten thousand takes seconds, in which nobody else is answered; for a sign-in nobody needs a token."""
    names = _compared(monkeypatch)
    with pytest.raises(ValidationError, match="more than 20 fields that this server does not know"):
        body.model_validate(given)
    assert names == []


def test_twenty_are_ignored_and_each_is_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when all keys of a bulk request have them."""
    names = _compared(monkeypatch)
    key = {"name": "x", **_many(20)}
    made = NewKeys.model_validate({"keys": [key] * 50})
    assert {one.ignored_fields for one in made.keys} == {tuple(_many(20))}
    assert names == [*_many(20)]


def test_fields_of_ours_are_never_listed() -> None:
    """A request with all of them ignores nothing."""
    given = {name: None for name in NewKey.model_fields if name not in {"name", "note", "is_active"}}
    del given["traffic_limit_window"]
    assert NewKey.model_validate({"name": "x", **given}).ignored_fields == ()


@pytest.mark.parametrize("given", [*CLOSE, *FAR, "uuid", "short_id", "sni"])
def test_a_change_refuses_all_that_is_unknown(given: str) -> None:
    """PATCH is this server's own: nobody sends it fields of an older one."""
    with pytest.raises(ValidationError, match=r"no such field|Extra inputs"):
        KeyChange.model_validate({given: 1})
