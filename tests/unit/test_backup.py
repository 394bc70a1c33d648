"""The file of a backup: what comes out is what went in, or nothing does."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpnkeys.store.files import backup
from vpnkeys.store.files.backup import MEMBERS, Backup, BackupRefused, is_encrypted, pack, unpack

SMALL = Backup("0.1.0", "2025-08-05T12:00:00Z", {"vpnkeys.db": b"the keys\x00\xff", "reality.json": b"{}"})
PASSPHRASE = "correct horse"

members = st.dictionaries(st.sampled_from(MEMBERS), st.binary(max_size=300))
backups = st.builds(Backup, st.text(max_size=20), st.text(max_size=20), members)


@pytest.fixture(autouse=True)
def derived_once() -> Iterator[None]:
    """The derivation of a key is slow on purpose: each one once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backup, "_derive", functools.cache(backup._derive))
        yield


def sealed(content: bytes) -> bytes:
    """A file whose digest is right, as one who alters it on purpose would make it."""
    return content + hashlib.sha256(content).digest()


def with_manifest(*entries: object, rest: bytes = b"") -> bytes:
    """A file with a right digest, and a manifest of one's own."""
    start = pack(SMALL).index(b"\n", len(backup._MAGIC)) + 1
    return sealed(pack(SMALL)[:start] + json.dumps({"members": entries}).encode() + b"\n" + rest)


@given(made=backups)
def test_what_goes_in_comes_out(made: Backup) -> None:
    """Whatever the members are, any of them and none."""
    raw = pack(made)
    assert unpack(raw) == made
    assert not is_encrypted(raw)


@given(made=backups, passphrase=st.text(min_size=1, max_size=20))
@settings(max_examples=10)
def test_what_goes_in_encrypted_comes_out(made: Backup, passphrase: str) -> None:
    """Whatever the passphrase is."""
    raw = pack(made, passphrase)
    assert unpack(raw, passphrase) == made
    assert is_encrypted(raw)


def test_an_encrypted_file_shows_nothing() -> None:
    """Neither content nor names of members; and two of the same content have nothing in common but the header."""
    one, other = pack(SMALL, PASSPHRASE), pack(SMALL, PASSPHRASE)
    assert b"the keys" not in one
    assert b"reality" not in one
    assert one[-100:] != other[-100:]


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_every_flip_of_a_byte_is_refused(passphrase: str | None) -> None:
    """In any place, of the header, the content or the seal; in eight ways where that is quick."""
    raw = pack(SMALL, passphrase)
    for at in range(len(raw)):
        for bit in range(8):
            damaged = bytearray(raw)
            damaged[at] ^= 1 << bit
            with pytest.raises(BackupRefused):
                unpack(bytes(damaged), passphrase)


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_every_truncation_is_refused(passphrase: str | None) -> None:
    """At any length; and so is anything behind the end."""
    raw = pack(SMALL, passphrase)
    for length in range(len(raw)):
        with pytest.raises(BackupRefused):
            unpack(raw[:length], passphrase)
    with pytest.raises(BackupRefused, match="damaged"):
        unpack(raw + b"\x00", passphrase)


def test_whoever_does_not_know_the_passphrase_can_alter_nothing() -> None:
    """Not the header either, even with a digest that is right: the tag is over all of it."""
    raw = pack(SMALL, PASSPHRASE)[:-32]
    end = raw.index(b"\n", len(backup._MAGIC))
    version, time = raw.index(b"0.1.0"), raw.index(b"2025-08")
    for at in (version, time, end + 1, end + 20, len(raw) - 1):
        damaged = bytearray(raw)
        damaged[at] ^= 1
        with pytest.raises(BackupRefused, match="passphrase is wrong"):
            unpack(sealed(bytes(damaged)), PASSPHRASE)


def test_a_wrong_passphrase_is_called_one() -> None:
    """It is told from a damaged file; none at all is asked for; one too many is no guarantee and is refused."""
    raw = pack(SMALL, PASSPHRASE)
    with pytest.raises(BackupRefused, match="passphrase is wrong"):
        unpack(raw, "correct horse ")
    with pytest.raises(BackupRefused, match="encrypted: give its passphrase"):
        unpack(raw)
    with pytest.raises(BackupRefused, match="not encrypted"):
        unpack(pack(SMALL), PASSPHRASE)


def test_a_passphrase_is_its_letters() -> None:
    """However a keyboard composes them."""
    assert unpack(pack(SMALL, "caf\u00e9"), "cafe\u0301") == SMALL


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"\x00" * 500,
        b"SQLite format 3\x00" + b"\x00" * 4000,
        b"vpnkeys backup\r\n{}",
        b"vpnkeys backup\n" + b"x" * 10_000,
        b"vpnkeys backup\nnull\n" + b"x" * 40,
        b"vpnkeys backup\n" + b"[" * 4000 + b"\n",
        sealed(b'vpnkeys backup\n{"format": 1}\n'),
        sealed(b'vpnkeys backup\n{"format": "1"}\n'),
    ],
)
def test_a_foreign_file_is_refused(foreign: bytes) -> None:
    """Whatever it is, in one line."""
    with pytest.raises(BackupRefused) as refused:
        unpack(foreign)
    assert len(str(refused.value).splitlines()) == 1


@given(foreign=st.binary(max_size=200))
def test_any_bytes_are_refused(foreign: bytes) -> None:
    """Also behind the first line of a right one."""
    for raw in (foreign, b"vpnkeys backup\n" + foreign):
        with pytest.raises(BackupRefused):
            unpack(raw)


def test_a_newer_format_is_called_one() -> None:
    """It is not guessed at."""
    raw = pack(SMALL)[:-32].replace(b'"format": 1', b'"format": 2')
    with pytest.raises(BackupRefused, match="use a newer vpnkeys"):
        unpack(sealed(raw))


@pytest.mark.parametrize("name", ["../reality.json", "/etc/passwd", "config.json", "", "tls", "VPNKEYS.DB"])
def test_no_member_is_written_elsewhere(name: str) -> None:
    """Names are paths, so that only known ones are taken, although the digest is right."""
    entry = {"name": name, "size": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    with pytest.raises(BackupRefused, match="no place in a backup"):
        unpack(with_manifest(entry))


def test_a_manifest_has_to_fit() -> None:
    """A member twice, of less than nothing, beyond the end, of other content, or bytes of none are refused."""
    digest = hashlib.sha256(b"ab").hexdigest()
    good = {"name": "vpnkeys.db", "size": 2, "sha256": digest}
    assert unpack(with_manifest(good, rest=b"ab")).members == {"vpnkeys.db": b"ab"}
    for entries, rest in (
        ((good, good), b"abab"),
        (({**good, "size": -1},), b"ab"),
        (({**good, "size": 3},), b"ab"),
        (({**good, "size": "two"},), b"ab"),
        ((good,), b"ac"),
        ((good,), b"abc"),
        ((), b"ab"),
        (("vpnkeys.db",), b"ab"),
    ):
        with pytest.raises(BackupRefused):
            unpack(with_manifest(*entries, rest=rest))
