"""The last net under the log holds what looks like a secret or an address, and lets everything else through."""

import secrets

import pytest

from vpnkeys.domain.reality import KeyPair
from vpnkeys.server.redaction import redact

UUID = "0a1b2c3d-1111-4222-8333-444455556666"


@pytest.mark.parametrize(
    "secret",
    [
        f"vless://{UUID}@vpn.example.com:10001?security=reality&pbk=abc&sid=0123456789abcdef#me",
        "vpnk_0a1b2c3d_x-Y_z0",
        "0123456789abcdef" * 4,
        "192.0.2.7",
        "127.0.0.1",
        "2001:db8::7",
        "::1",
        "fe80::1:2",
        "::ffff:192.0.2.7",
    ],
)
def test_secrets_and_addresses_go(secret: str) -> None:
    """Wherever in a message they stand."""
    for text in (secret, f"x {secret} y", f"('{secret}', 443)", f"[{secret}]", f"from={secret};"):
        assert secret not in redact(text)


def test_random_keys_go() -> None:
    """API keys as they are made here, and X25519 keys: whichever letters chance has put into them."""
    for _ in range(200):
        for secret in (secrets.token_urlsafe(32), KeyPair.new().private_key):
            told = redact(f"key={secret}, {secret}")
            # One in many thousands is without a digit; that is what "last net" means.
            assert secret not in told or not any(char.isdigit() for char in secret)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("X-API-Key: topsecret", "X-API-Key: [secret]"),
        ("{'x-api-key': 'top secret'}", "{'x-api-key': '[secret] secret'}"),
        ("(b'x-api-key', b'topsecret')", "(b'x-api-key', b'[secret]')"),
        ("Authorization: Bearer topsecret", "Authorization: [secret]"),
        ("sent Bearer abc.def-ghi=", "sent Bearer [secret]"),
        ("GET /sub/AbC-d_e HTTP/1.1", "GET /sub/[token] HTTP/1.1"),
        ("postgresql://me:topsecret@db/keys", "postgresql://me:[secret]@db/keys"),
        ("a -----BEGIN EC PRIVATE KEY-----\nMIG\n-----END EC PRIVATE KEY-----\nb", "a [key]\nb"),
        ("listen tcp 127.0.0.1:10001: bind: in use", "listen tcp [address]:10001: bind: in use"),
        ("[2001:db8::1]:443 and 2001:db8::2", "[[address]]:443 and [address]"),
    ],
)  # fmt: skip
def test_what_stands_around_a_secret_stays(text: str, told: str) -> None:
    """So that the line still says what happened."""
    assert redact(text) == told


@pytest.mark.parametrize(
    "text",
    [
        f"key {UUID} made on port 10001",
        "Xray 26.3.27 ended (exit code 1) after 0.1 s",
        "at 12:34:56 std::string, a[1:2], fe:ed",
        "drift: config.json is right, 0 inbounds are removed, 3 are added",
        "www.example.com:443 does not speak h2 (HTTP/2); choose another server name",
        "GET /api/keys/{key_id} 200 in 0.3 ms",
        "/usr/lib/python3.11/site-packages/some_very_long_module_name_with_many_words/and_another.py",
        "vpnkeys.service.keys",
    ],
)
def test_other_words_are_let_through(text: str) -> None:
    """Ids, versions, times, names and paths are what a log is for."""
    assert redact(text) == text


def test_uuids_are_let_through_only_in_our_own_words() -> None:
    """Keys' ids look like the UUIDs that let people in; Xray tells both, ids only in tags."""
    assert redact(f"user {UUID}", is_ours=False) == "user [uuid]"
    assert redact(f"inbound key-{UUID}", is_ours=False) == f"inbound key-{UUID}"
