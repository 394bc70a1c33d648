"""What a person types: sizes in GB of 10^9 bytes, dates and spans of time, and keys by any of their names."""

import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpnkeys.cli.names import SeveralKeys, id_of, ids_of, matching, short_ids, subject_of
from vpnkeys.cli.output.listing import Sort, chosen
from vpnkeys.cli.output.tables import short_bytes
from vpnkeys.cli.values import moment_of, seconds_of, size_of, time_of, to_second
from vpnkeys.client import Client, Key, NotFound
from vpnkeys.domain.limits import Status

NOW = datetime(2026, 1, 31, 10, 30, tzinfo=UTC)


@pytest.fixture
def berlin() -> Iterator[None]:
    """An operator in a zone with summer time."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("50GB", 50 * 10**9),
        ("1.5TB", 1_500_000_000_000),
        ("20G", 20 * 10**9),
        ("500 mb", 500 * 10**6),
        ("7kB", 7000),
        ("12", 12),
        ("12B", 12),
    ],
)
def test_sizes_are_powers_of_ten(text: str, count: int) -> None:
    """In any spelling of the unit."""
    assert size_of(text) == count


@pytest.mark.parametrize("text", ["", "GB", "5GiB", "5X", "-1", "1e9", "inf", "nan", "5 G B", "٥GB"])
def test_what_is_no_size(text: str) -> None:
    """Binary units are not taken for what they are not."""
    with pytest.raises(ValueError, match="is no size"):
        size_of(text)


@given(st.integers(0, 10**15))
def test_a_size_that_was_shown_is_the_same_to_a_twentieth(count: int) -> None:
    """What is read in a table can be typed."""
    assert abs(size_of(short_bytes(count)) - count) <= count / 20


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("30d", "2026-03-02T11:30:00+01:00"),
        ("12h", "2026-01-31T23:30:00+01:00"),
        ("2 weeks", "2026-02-14T11:30:00+01:00"),
        ("+1month", "2026-02-28T11:30:00+01:00"),
        ("+2months", "2026-03-31T11:30:00+02:00"),
        ("1y", "2027-01-31T11:30:00+01:00"),
        ("2026-12-31", "2027-01-01T00:00:00+01:00"),
        ("2026-03-29", "2026-03-30T00:00:00+02:00"),
        ("2026-12-31T12:00:00", "2026-12-31T12:00:00+00:00"),
        ("2026-12-31T12:00:00+03:00", "2026-12-31T12:00:00+03:00"),
    ],
)
def test_dates_and_spans(berlin: None, text: str, end: str) -> None:
    """A month later is the same day, or the last; a date is its end, here; a time is UTC without an offset."""
    assert moment_of(text, NOW) == datetime.fromisoformat(end)
    assert moment_of(text, NOW).tzinfo is not None


@pytest.mark.parametrize("text", ["", "tomorrow", "30", "1m", "-1d", "2026-02-30", "99999y", "9999-12-31"])
def test_what_is_no_date(text: str) -> None:
    """Minutes or months, 1m is not guessed."""
    with pytest.raises((ValueError, OverflowError)):
        moment_of(text, NOW)


def test_the_zone_is_named(berlin: None) -> None:
    """In winter and in summer; a date begins and ends by the clock of the reader."""
    assert to_second(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01 01:00:00 CET"
    assert to_second(datetime(2026, 7, 1, tzinfo=UTC)) == "2026-07-01 02:00:00 CEST"
    begin, end = (time_of("2026-03-29", is_end=is_end) for is_end in (False, True))
    assert end - begin == timedelta(hours=23)


@pytest.mark.parametrize(("text", "seconds"), [("30d", 2_592_000), ("1h", 3600), ("2w", 1_209_600)])
def test_spans_have_a_length(text: str, seconds: int) -> None:
    """A month has none."""
    assert seconds_of(text) == seconds
    with pytest.raises(ValueError, match="fixed length"):
        seconds_of("1month")


def key(number: int, name: str, **more: object) -> Key:
    """A key as a server sends it."""
    sent = {
        "id": f"0000{number:04}-aaaa-4aaa-8aaa-{number:012}",
        "uuid": f"ffff{number:04}-bbbb-4bbb-8bbb-{number:012}",
        "name": name,
        "created_at": f"2025-08-05T12:00:{number:02}",
        "is_active": True,
        "port": 10000 + number,
        "status": "active",
        **more,
    }
    return Key.model_validate(sent)


MARIA, MARIO, OTHER, PORT = key(1, "Maria"), key(2, "Mario"), key(3, "Иван", note="paid"), key(4, "10003")
KEYS = [MARIA, MARIO, OTHER, PORT]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (MARIA.id, [MARIA]),
        (MARIA.uuid.upper(), [MARIA]),
        ("Maria", [MARIA]),
        ("10002", [MARIO]),
        ("maria", [MARIA]),
        ("ив", [OTHER]),
        ("Mar", [MARIA, MARIO]),
        ("00000003", [OTHER]),
        ("10003", [OTHER, PORT]),
        ("nobody", []),
        ("", []),
    ],
)
def test_a_key_has_many_names(wanted: str, found: list[Key]) -> None:
    """Id, UUID, name and port as they are come before what begins so; a port that is another's name is both."""
    assert matching(KEYS, wanted) == found


class Server:
    """Stands for a server with these keys, and remembers which names it is asked for."""

    def __init__(self, keys: Sequence[Key] = KEYS) -> None:
        """Nothing is asked yet."""
        self.keys, self.asked = keys, list[str | None]()

    def list(self, name: str | None = None) -> list[Key]:
        """All keys, or those with this name."""
        self.asked.append(name)
        return [key for key in self.keys if name in {None, key.name}]


def _client(keys: Server) -> Client:
    client = Client.__new__(Client)
    vars(client)["keys"] = keys
    return client


def test_a_name_that_is_a_uuid() -> None:
    """It finds its key. When it is another key's UUID, too, both are shown, and neither is taken for the other."""
    name = "6f1d2c3b-0000-4000-8000-000000000001"
    named, longer = key(5, name), key(6, f"{name}-old")
    client = _client(Server([*KEYS, named, longer]))
    assert id_of(client, name) == named.id
    assert ids_of(client, [name, "Maria"]) == [named.id, MARIA.id]
    with pytest.raises(SeveralKeys) as several:
        id_of(_client(Server([*KEYS, twin := key(7, MARIA.uuid)])), MARIA.uuid)
    assert several.value.keys == [MARIA, twin]


def test_a_uuid_that_no_key_has() -> None:
    """It is left to the server, which also knows keys that are about to be gone; a longer name is another key's."""
    gone = "6f1d2c3b-0000-4000-8000-000000000001"
    keys = Server([*KEYS, key(6, f"{gone}-old")])
    assert id_of(_client(keys), gone) == gone
    assert keys.asked == [gone]  # not for all keys, which may be thousands
    assert ids_of(_client(keys), [gone, "Maria"]) == [gone, MARIA.id]


def test_a_port_has_no_beginning() -> None:
    """What is said of it claims nothing else."""
    with pytest.raises(NotFound, match="an id, UUID or name that begins so") as refused:
        id_of(_client(Server([MARIA])), "1000")
    assert "port '1000'," in refused.value.detail


def test_one_key_or_none() -> None:
    """Several are named in the error; all are found with one request."""
    keys = Server()
    client = _client(keys)
    assert ids_of(client, ["Maria", MARIO.id, OTHER.uuid, "10004"]) == [MARIA.id, MARIO.id, OTHER.id, PORT.id]
    assert keys.asked == [None]
    with pytest.raises(SeveralKeys, match="nothing was done") as several:
        id_of(client, "mar")
    assert several.value.keys == [MARIA, MARIO]
    with pytest.raises(NotFound, match="vpnkeys keys list"):
        id_of(client, "nobody")
    assert (subject_of(client, "Maria"), subject_of(client, "token-1")) == (MARIA.id, "token-1")


def test_short_ids_are_unique() -> None:
    """Eight characters, more where two begin alike."""
    assert short_ids([one.id for one in KEYS]) == [one.id[:8] for one in KEYS]
    twin = f"{MARIA.id[:-1]}9"
    assert short_ids([MARIA.id, twin]) == [MARIA.id, twin]
    assert short_ids([]) == []


def test_a_list_is_chosen_and_ordered() -> None:
    """By status and by text in name or note; what is used most, or ends first, comes first."""
    much = key(6, "much", used_in_window_bytes=9, remaining_bytes=1, expires_at="2030-01-01T00:00:00")
    little = key(7, "little", used_in_window_bytes=1, remaining_bytes=9, status="expired")
    both = [little, much]
    assert chosen(both, Status.EXPIRED, None, Sort.MADE) == [little]
    assert chosen(KEYS, None, "PAID", Sort.MADE) == [OTHER]
    assert chosen(KEYS, None, "mar", Sort.NAME) == [MARIA, MARIO]
    for order in (Sort.USED, Sort.LEFT, Sort.EXPIRES, Sort.PORT):
        assert chosen(both, None, None, order) == [much, little], order
    month, week = (key(days, "waits", expires_after_s=days * 86400) for days in (30, 7))
    assert chosen([*KEYS, month, week, much], None, None, Sort.EXPIRES) == [much, week, month, *KEYS]
    # The server lists keys in the order in which they were made, whatever its clock said.
    assert chosen(both, None, None, Sort.MADE) == both
