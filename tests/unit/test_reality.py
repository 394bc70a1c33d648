"""REALITY's keys, short ids and server names."""

import base64
from random import Random, SystemRandom

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import private_keys, server_names, short_ids

from vpnkeys.domain.reality import (
    KeyPair,
    decode_key,
    encode_key,
    fallback_limits,
    is_server_name,
    is_short_id,
    new_short_id,
    pad_short_id,
)

# RFC 7748, section 6.1: the private and public keys of Alice and Bob.
RFC_7748 = [
    (
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
    ),
    (
        "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
    ),
]


@pytest.mark.parametrize(("private", "public"), RFC_7748)
def test_the_public_key_is_the_one_of_the_rfc(private: str, public: str) -> None:
    """X25519 as RFC 7748 computes it, in Xray's spelling."""
    pair = KeyPair.of_private(encode_key(bytes.fromhex(private)))
    assert decode_key(pair.public_key).hex() == public
    assert decode_key(pair.private_key).hex() == private


def test_new_pairs_are_new_and_match() -> None:
    """No two are alike, and the public key belongs to the private one."""
    pairs = [KeyPair.new() for _ in range(20)]
    assert len({pair.private_key for pair in pairs}) == 20
    assert all(KeyPair.of_private(pair.private_key) == pair for pair in pairs)


def test_the_private_key_stays_out_of_logs() -> None:
    """Printing a pair does not print its secret."""
    pair = KeyPair.new()
    assert pair.private_key not in f"{pair!r} {pair}"
    assert pair.public_key in repr(pair)


@given(st.binary(min_size=32, max_size=32))
def test_keys_are_spelled_as_xray_spells_them(raw: bytes) -> None:
    """43 characters of base64url without padding, and back."""
    text = encode_key(raw)
    assert len(text) == 43
    assert text == base64.urlsafe_b64encode(raw).decode().removesuffix("=")
    assert decode_key(text) == raw


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A" * 42,
        "A" * 44,
        "A" * 43 + "=",
        "A" * 42 + "B",  # the last character carries four bits; this one has more
        "A" * 42 + "+",
        "/" + "A" * 42,
        " " + "A" * 43,
        "A" * 43 + "\n",
        "Ж" * 43,
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    """One key has one spelling: what differs as text differs as a key."""
    with pytest.raises(ValueError, match="43 characters"):
        decode_key(text)


@given(private_keys)
def test_any_32_bytes_are_a_private_key(private: str) -> None:
    """X25519 clamps them; the pair keeps them as they are, so that the file and Xray agree."""
    assert KeyPair.of_private(private).private_key == private


def test_new_short_ids() -> None:
    """16 hex digits each, never the same, also when chance has the same again."""
    first = new_short_id(Random(1))  # noqa: S311 - to be repeated, not to be secret
    assert new_short_id(Random(1), {first}) != first  # noqa: S311 - likewise
    made: set[str] = set()
    for _ in range(1000):
        made.add(new_short_id(SystemRandom(), made))
    assert len(made) == 1000
    assert all(is_short_id(short_id) and len(short_id) == 16 for short_id in made)


@pytest.mark.parametrize("text", ["aa", "00", "0123456789abcdef", "deadbeef"])
def test_short_ids_that_xray_takes(text: str) -> None:
    """2 to 16 lower-case hex digits, an even number of them."""
    assert is_short_id(text)


@pytest.mark.parametrize("text", ["", "a", "abc", "AA", "0g", "0123456789abcdef00", "aa\n", " aa", "аа", "١٢"])
def test_short_ids_that_xray_would_not_take(text: str) -> None:
    """Everything else; the last two are Cyrillic letters and Arabic digits."""
    assert not is_short_id(text)


@given(short_ids, st.integers(1, 8))
def test_a_short_id_is_filled_up_with_zeros(short_id: str, size: int) -> None:
    """A shorter one means the same as with zeros behind it, which is how Xray keeps it."""
    short = short_id[: 2 * size]
    assert bytes.fromhex(pad_short_id(short)) == bytes.fromhex(short).ljust(8, b"\0")
    assert pad_short_id(short_id) == short_id


@given(server_names)
def test_server_names(name: str) -> None:
    """Lower-case names with a dot."""
    assert is_server_name(name)
    assert not is_server_name(f"{name}.")
    assert not is_server_name(name + "\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "Example.com",
        "example.com:443",
        "1.2.3.4",
        "::1",
        "*.example.com",
        "-a.example.com",
        "a-.example.com",
        "a..com",
        ".com",
        "пример.рф",
        "a b.com",
        "a" * 64 + ".com",
        ("a" * 49 + ".") * 5 + "example",  # 257 characters
    ],
)
def test_what_is_no_server_name(text: str) -> None:
    """Addresses, wildcards, capital letters and whatever DNS would not carry."""
    assert not is_server_name(text)


def test_limits_of_fallback_are_a_servers_own() -> None:
    """The same at each start, others on another server and for another name, and all within their bounds."""
    pairs = [KeyPair.new().private_key for _ in range(20)]
    assert fallback_limits("a.example", pairs[0]) == fallback_limits("a.example", pairs[0])
    drawn = {fallback_limits(name, key) for key in pairs for name in ("a.example", "b.example")}
    assert len(drawn) == 40
    for up, down in drawn:
        assert 2**20 <= up.after_bytes <= 2 * 2**20
        assert 32 * 2**10 <= up.bytes_per_s <= 64 * 2**10
        assert 8 * 2**20 <= down.after_bytes <= 16 * 2**20
        assert 256 * 2**10 <= down.bytes_per_s <= 512 * 2**10
