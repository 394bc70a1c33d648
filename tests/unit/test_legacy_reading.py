"""What is read from an old installation: everything that its customers have, whichever source knows it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import key_lists, server_names
from tests.support.legacy import VISION, OldKey, OldServer, realistic_keys

from vpnkeys.domain.errors import LegacyUnreadable
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import NO_LIMITS, Status
from vpnkeys.service.legacy.importing import ImportPlan, LegacyInstallation
from vpnkeys.service.legacy.reading import read_installation
from vpnkeys.service.legacy.values import (
    parse_flag,
    parse_id,
    parse_moment,
    parse_port,
    parse_short_id,
    parse_total,
    parse_uuid,
)

NAMES = ("www.one.example", "www.two.example")
ONE = OldKey("one", 10001, "5f9c2b7adfe7d8ab", NAMES[0], total_bytes=11)
TWO = OldKey("two", 10002, "a1b2c3d4", NAMES[1], total_bytes=22)


def old_server(*keys: OldKey) -> OldServer:
    """An old server that exists on no disk."""
    return OldServer(Path("/nowhere"), keys)


def read(server: OldServer, sni: str = "") -> LegacyInstallation:
    """What we make of it."""
    return read_installation(server.tables(), json.dumps(server.document()), server.env_text(), sni)


def codes(result: LegacyInstallation | ImportPlan) -> list[str]:
    """The clashes in short."""
    return [clash.code for clash in result.clashes]


def as_old(key: Key, total_bytes: int) -> OldKey:
    """A key as the old server would have had it."""
    return OldKey(
        key.name,
        key.port,
        key.short_id,
        key.sni,
        uuid=key.uuid,
        id=key.id,
        flow=key.flow,
        created_at=key.created_at.isoformat(),
        is_active=key.is_active,
        served=key.is_active,
        total_bytes=total_bytes,
        server_names=(*NAMES, key.sni),
    )


@given(key_lists(), st.lists(st.integers(0, 2**62), min_size=6, max_size=6))
def test_what_customers_have_goes_on(keys: list[Key], totals: list[int]) -> None:
    """Id, name, UUID, port, short id, server name, flow, age, state and total are those of the old server."""
    served = [replace(key, flow=key.flow if key.is_active else VISION) for key in keys]
    installation = read(old_server(*map(as_old, served, totals)))
    assert not installation.clashes
    assert [replace(key, port_assigned_at=None) for key in installation.keys] == [
        replace(key, port_assigned_at=None, note="", limits=NO_LIMITS, limit_status=Status.ACTIVE, fingerprint=None)
        for key in served
    ]
    assert installation.total_bytes == {key.uuid: total for key, total in zip(served, totals, strict=False)}


def test_every_kind_of_key_is_taken_over() -> None:
    """The kinds that are in use, of all ages and half known ones too, come over without a clash."""
    old = realistic_keys(range(10001, 10010), NAMES)
    keys = {key.name: key for key in read(old_server(*old)).keys}
    assert {name: (key.port, key.short_id, key.sni, key.flow) for name, key in keys.items()} == {
        key.name: (key.port, key.short_id, key.sni, key.flow or "") for key in old
    }
    assert keys["early"].created_at == datetime(2024, 1, 2, 0, 4, 5)  # noqa: DTZ001 - UTC, as everywhere
    assert not keys["asleep"].is_active


def test_values_missing_in_one_place_come_from_the_other() -> None:
    """Nothing but id, name and UUID has to be in the table of keys: Xray and the other tables know the rest."""
    nothing: dict[str, object] = dict.fromkeys(["port", "short_id", "sni", "created_at", "is_active"])
    (key,) = read(old_server(replace(ONE, row=nothing))).keys
    assert (key.port, key.short_id, key.sni, key.is_active) == (ONE.port, ONE.short_id, ONE.sni, True)
    assert key.created_at == datetime(2025, 8, 5, 12, 0, 0, 250_000)  # noqa: DTZ001 - when it was given its port


def test_the_port_of_an_unserved_key_is_its_assignment() -> None:
    """A sleeping key whose row lacks the port has the port that was assigned to it."""
    (key,) = read(old_server(replace(ONE, is_active=False, served=False, row={"port": None}))).keys
    assert key.port == ONE.port


@pytest.mark.parametrize(
    ("row", "kept"),
    [({"port": 10050}, "port"), ({"short_id": "ffffffffffffffff"}, "short_id"), ({"sni": NAMES[1]}, "sni")],
)
def test_what_xray_served_wins(row: dict[str, object], kept: str) -> None:
    """Where database and config.json differ, links in use work with what is in config.json; and it is said."""
    installation = read(old_server(replace(ONE, row=row)))
    assert getattr(installation.keys[0], kept) == getattr(ONE, kept)
    assert any(str(row[kept]) in note and "config.json" in note for note in installation.notes)


@pytest.mark.parametrize("flow", ["", None, VISION])
def test_the_flow_is_what_the_inbound_had(flow: str | None) -> None:
    """Xray refuses clients whose flow is not the inbound's, so it must not change; the odd one is spoken of."""
    installation = read(old_server(replace(ONE, flow=flow)))
    assert installation.keys[0].flow == (flow or "")
    assert any("no flow" in note for note in installation.notes) is not (flow == VISION)


def test_a_flow_for_the_whole_inbound_counts() -> None:
    """Xray gives a client without a flow the one of its inbound's settings."""
    client = {"clients": [{"id": ONE.uuid}], "decryption": "none", "flow": VISION}
    assert read(old_server(replace(ONE, flow=None, inbound={"settings": client}))).keys[0].flow == VISION


def test_a_short_id_is_the_same_with_its_zeros() -> None:
    """REALITY pads short ids with zeros, so both spellings are one; the database's, which the API showed, stays."""
    installation = read(old_server(replace(TWO, row={"short_id": "A1B2C3D400"})))
    assert installation.keys[0].short_id == "a1b2c3d400"
    assert not installation.clashes
    assert not any("short_id" in note for note in installation.notes)


def test_an_unknown_server_name_is_asked_for() -> None:
    """Of several names that Xray took, the link has one: where nobody noted which, the operator has to say."""
    server = old_server(replace(ONE, server_names=NAMES, row={"sni": None}))
    assert codes(read(server)) == ["sni_unknown"]
    assert "--sni" in read(server).clashes[0].message
    assert read(server, sni=NAMES[1]).keys[0].sni == NAMES[1]


def test_the_old_target_is_left_behind_and_that_is_said() -> None:
    """Links do not carry the target; a shared one would betray the camouflage."""
    server = replace(old_server(ONE), target="shared.example:443")
    assert any("shared.example:443" in note and "not taken over" in note for note in read(server).notes)


def test_an_inbound_without_a_key_is_a_clash() -> None:
    """A link that works and has no owner in the database must not die unnoticed."""
    server = old_server(ONE, TWO)
    tables = server.tables() | {"keys": [ONE.columns]}
    installation = read_installation(tables, json.dumps(server.document()), server.env_text())
    assert codes(installation) == ["served_without_key"]
    assert TWO.uuid in installation.clashes[0].message


def test_an_inbound_with_another_private_key_is_a_clash() -> None:
    """Links carry the public key; what Xray served and keys.env must be one pair, or it is not known which."""
    server = old_server(ONE)
    installation = read_installation(server.tables(), json.dumps(server.document()), old_server(ONE).env_text())
    assert codes(installation) == ["inbound_unfit"]
    assert server.pair.public_key in installation.clashes[0].message
    assert server.pair.private_key not in installation.clashes[0].message


def test_inbounds_of_the_operator_are_none_of_our_business() -> None:
    """An inbound that is not tagged as a key's and lets none of them in is left alone."""
    own = {"tag": "mine", "port": 443, "protocol": "vless", "settings": {"clients": [{"id": TWO.uuid}]}}
    assert not read(replace(old_server(ONE), more_inbounds=[own])).clashes


@pytest.mark.parametrize(
    ("config", "env"),
    [
        ("{", None),
        ("[]", None),
        ('{"inbounds": {}}', None),
        ('{"inbounds": [1]}', None),
        (None, ""),
        (None, "PRIVATE_KEY=short\n"),
    ],
)
def test_a_file_that_is_something_else_is_refused(config: str | None, env: str | None) -> None:
    """A wrong file is refused by its name, before anything is looked into."""
    server = old_server(ONE)
    with pytest.raises(LegacyUnreadable, match=r"keys\.env" if config is None else r"config\.json"):
        read_installation(
            server.tables(), config or json.dumps(server.document()), env or (server.env_text() if env is None else env)
        )


@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)), st.integers(-14 * 60, 14 * 60), st.sampled_from("T "))  # noqa: DTZ001 - made aware below
def test_a_time_means_the_same_in_every_spelling(moment: datetime, offset_min: int, separator: str) -> None:
    """With an offset it is converted, without one it is UTC, and Unix seconds will do."""
    there = moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=offset_min)))
    whole = moment.replace(microsecond=0)
    seconds = int(whole.replace(tzinfo=UTC).timestamp())
    assert parse_moment(there.isoformat(separator)) == moment
    assert parse_moment(moment.isoformat(separator)) == moment
    assert parse_moment(moment.isoformat(separator) + "Z") == moment
    assert parse_moment(f"{moment.isoformat(separator)} +00:00") == moment
    assert parse_moment(f"{moment.isoformat(separator)} UTC") == moment
    assert parse_moment(seconds) == whole
    assert parse_moment(float(seconds)) == whole


junk = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()


@given(junk)
def test_no_value_breaks_a_parser(value: object) -> None:
    """Whatever stands in a column is either taken or refused in an orderly way."""
    for parse in (parse_flag, parse_id, parse_moment, parse_port, parse_short_id, parse_total, parse_uuid):
        try:
            parse(value)
        except ValueError as error:
            assert str(error).startswith("is n")  # noqa: PT017 - refusing is one of two right ways


@given(
    st.dictionaries(st.sampled_from(["id", "name", "uuid", "created_at", "is_active", "port", "short_id", "sni"]), junk)
)
def test_no_row_breaks_the_reading(row: dict[str, object]) -> None:
    """A damaged row is a clash or is made good by the other sources; it never ends the program."""
    installation = read(old_server(replace(ONE, row=row), TWO))
    assert installation.clashes or len(installation.keys) == 2


@given(st.recursive(junk.filter(lambda value: not isinstance(value, bytes)), lambda inner: st.lists(inner, max_size=3)))
def test_no_inbound_breaks_the_reading(odd: object) -> None:
    """A damaged inbound is a clash; only a port can be anything that is one."""
    for name in ("settings", "streamSettings", "port"):
        installation = read(old_server(replace(ONE, inbound={name: odd})))
        assert installation.clashes or str(installation.keys[0].port) == str(odd)


@given(server_names)
def test_any_good_name_can_be_given_for_all(name: str) -> None:
    """The operator's answer fills a gap of keys that no inbound names."""
    server = old_server(replace(ONE, is_active=False, served=False, row={"sni": None}))
    assert read(server, sni=name).keys[0].sni == name
