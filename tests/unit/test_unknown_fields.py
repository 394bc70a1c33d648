"""An unknown field is refused where it is close to a known one, and ignored otherwise."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from vpnkeys.wire.keys import KeyChange, NewKey

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
    "node",
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
