"""The data directory's secrets: made once, kept, never guessed at."""

import json
import stat
from pathlib import Path

import pytest

from vpnkeys.domain.reality import KeyPair
from vpnkeys.store.files.secrets import (
    API_KEY_FILE,
    REALITY_FILE,
    ApiKeyHash,
    load_api_key,
    load_key_pair,
    save_key_pair,
    unfit_secrets,
)


def test_a_key_pair_is_made_once(tmp_path: Path) -> None:
    """Every link ever given out hangs on it."""
    first = load_key_pair(tmp_path)
    assert load_key_pair(tmp_path) == first
    assert KeyPair.of_private(first.private_key) == first
    assert stat.S_IMODE((tmp_path / REALITY_FILE).stat().st_mode) == 0o600


def test_a_public_key_that_does_not_match_is_repaired(tmp_path: Path) -> None:
    """The private key decides, and the file is put right."""
    right = KeyPair.new()
    save_key_pair(tmp_path, KeyPair(right.private_key, KeyPair.new().public_key))
    assert load_key_pair(tmp_path) == right
    assert json.loads((tmp_path / REALITY_FILE).read_text())["public_key"] == right.public_key


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"null",
        b"{}",
        b'{"private_key": "x", "public_key": "y"}',
        b'{"private_key": 5, "public_key": "y"}',
        b'{"private_key": null, "public_key": null}',
        b"\xff",
    ],
)
def test_a_damaged_pair_is_never_replaced_in_silence(tmp_path: Path, content: bytes) -> None:
    """A new pair would end every customer's link: the operator decides, and the file stays as it is."""
    path = tmp_path / REALITY_FILE
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is damaged; restore it from a backup"):
        load_key_pair(tmp_path)
    assert path.read_bytes() == content


def test_an_api_key_is_shown_once(tmp_path: Path) -> None:
    """Made on the first start and told then; later only its hash is there to compare with."""
    made, shown = load_api_key(tmp_path, None)
    assert shown is not None
    assert len(shown) >= 32
    assert made.matches(shown)
    again, shown_again = load_api_key(tmp_path, None)
    assert (again, shown_again) == (made, None)
    path = tmp_path / API_KEY_FILE
    assert shown not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_given_api_key_replaces_the_stored_one(tmp_path: Path) -> None:
    """From then on it is the key, also when it is not given any more; it is never printed."""
    _, old = load_api_key(tmp_path, None)
    stored, shown = load_api_key(tmp_path, "a key of my own")
    assert shown is None
    assert stored.matches("a key of my own")
    assert not stored.matches(old or "")
    assert load_api_key(tmp_path, None) == (stored, None)
    assert load_api_key(tmp_path, "a key of my own") == (stored, None)


@pytest.mark.parametrize("wrong", ["", "a key", "A key of my own", "a key of my own ", "ключ", "\ud800"])
def test_another_key_does_not_match(wrong: str) -> None:
    """Whatever a stranger sends is compared, and nothing is raised."""
    assert not ApiKeyHash.of("a key of my own").matches(wrong)


def test_hashes_of_one_key_differ() -> None:
    """Two servers with one key cannot be told to have it."""
    one, other = ApiKeyHash.of("a key of my own"), ApiKeyHash.of("a key of my own")
    assert one != other
    assert other.matches("a key of my own")


@pytest.mark.parametrize("damage", ["", "not JSON", "[]", "{}", '{"private_key": "zzz", "public_key": "zzz"}'])
def test_damaged_secrets_are_named_before_the_next_start(tmp_path: Path, damage: str) -> None:
    """As missing ones are; a key that is given makes up for a missing file, and not for a damaged one."""
    load_key_pair(tmp_path)
    load_api_key(tmp_path, None)
    assert unfit_secrets(tmp_path, is_api_key_given=False) == ()
    for name in (REALITY_FILE, API_KEY_FILE):
        (tmp_path / name).write_text(damage)
    assert unfit_secrets(tmp_path, is_api_key_given=True) == (REALITY_FILE, API_KEY_FILE)
    for name in (REALITY_FILE, API_KEY_FILE):
        (tmp_path / name).unlink()
    assert unfit_secrets(tmp_path, is_api_key_given=False) == (REALITY_FILE, API_KEY_FILE)
    assert unfit_secrets(tmp_path, is_api_key_given=True) == (REALITY_FILE,)
