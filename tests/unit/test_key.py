"""A key's name: what is accepted, and as what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import keys, names

from vpnkeys.domain.errors import InvalidName, Rejected
from vpnkeys.domain.key import Key
from vpnkeys.domain.naming import NAME_MAX_CHARS, parse_name

ANY_SCRIPT = [
    "Ivan",
    "user@example.com",
    "Иван Петров",
    "張偉",
    "محمد",
    "नमस्ते",
    "👨‍👩‍👧 семья",
    "a" * 128,
    "я" * 128,
    "😀" * 128,
    "#?&%/+;'\"<>\\",
    ".",
    "a  b",
    "\N{NO-BREAK SPACE}x\N{NO-BREAK SPACE}y",
]


@pytest.mark.parametrize("name", ANY_SCRIPT)
def test_any_script_is_welcome(name: str) -> None:
    """Letters, digits, signs and pictures of any script are a name, up to 128 characters of them."""
    assert parse_name(f"  {name} ") == name.strip()


@given(names)
def test_an_accepted_name_is_kept_as_it_stands(name: str) -> None:
    """What was accepted once is accepted again, unchanged: nothing is normalised behind the user's back."""
    assert parse_name(name) == name
    assert parse_name(f" \N{IDEOGRAPHIC SPACE}{name}\N{NO-BREAK SPACE} ") == name


@pytest.mark.parametrize("length", [1, 127, 128])
def test_up_to_128_characters(length: int) -> None:
    """Characters are counted, not bytes, after trimming."""
    assert parse_name(" " + "ж" * length + " ") == "ж" * length
    assert length <= NAME_MAX_CHARS


@pytest.mark.parametrize("raw", ["", " ", "\N{NO-BREAK SPACE}", " \N{EM SPACE} ", "ж" * 129, "x" * 100_000])
def test_empty_and_long_names_are_refused(raw: str) -> None:
    """Nothing but white space, and 129 characters, are no names."""
    with pytest.raises(InvalidName):
        parse_name(raw)


@given(st.characters(categories=["Cc", "Cs"]), names)
def test_control_characters_and_lone_surrogates_are_refused(char: str, name: str) -> None:
    """They would break logs and terminals, or have no UTF-8 at all."""
    for raw in (f"a{char}{name}", f"{name}{char}b", f"a{char}b"):
        with pytest.raises(InvalidName):
            parse_name(raw)


@pytest.mark.parametrize("raw", ["a\0b", "a\x1b[31mb", "a\nb", "a\x7fb", "a\x85b", "a\ud800b"])
def test_the_refusal_tells_what_to_do(raw: str) -> None:
    """The message is for people, and its code for programs."""
    with pytest.raises(Rejected, match="control characters") as refused:
        parse_name(raw)
    assert refused.value.code == "invalid_name"


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_refused(raw: str) -> None:
    """Whatever comes: a trimmed name of 1 to 128 characters that has a UTF-8, or InvalidName."""
    try:
        name = parse_name(raw)
    except InvalidName:
        return
    assert name == raw.strip()
    assert 1 <= len(name) <= 128
    assert name.encode()


@given(keys())
def test_the_tag_names_the_key(key: Key) -> None:
    """Its inbound is found by the key's id."""
    assert key.tag == f"key-{key.id}"
