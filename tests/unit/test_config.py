"""config.json: inverses, and a merge that leaves the operator's own sections as they are."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import desired_states, inbounds

from vpnkeys.domain.inbound import ForeignInbound, Inbound
from vpnkeys.domain.portpool import PortRange
from vpnkeys.xray.config.document import API_TAG, OWN_PREFIX, BaseConfig, belongs_to_us, merge
from vpnkeys.xray.config.pieces import JsonObject, render_inbound
from vpnkeys.xray.config.reading import parse_inbound, summary

FRAME = BaseConfig("/run/vpnkeys/api.sock", PortRange(10001, 10100), (("10.0.0.7/32", 53), ("fd00::/8", None)), mark=7)
UNGUARDED = replace(FRAME, mark=None, own_addresses=("203.0.113.7",), api_port=8000)
frames = st.sampled_from([FRAME, UNGUARDED, replace(FRAME, own_addresses=("203.0.113.7", "2001:db8::7"))])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70000) | st.text(max_size=5),
    lambda below: st.lists(below, max_size=2) | st.dictionaries(st.text(max_size=4), below, max_size=2),
    max_leaves=4,
)
_foreign_tags = st.sampled_from(["", "operator", "ss-in", "in-key-1"])
foreign_inbounds = st.fixed_dictionaries(
    {"protocol": st.sampled_from(["vless", "shadowsocks"]), "port": st.integers(20000, 30000)},
    optional={"tag": _foreign_tags, "settings": json_values, "streamSettings": json_values, "x": json_values},
)
_rules = st.fixed_dictionaries({"outboundTag": st.just("direct")}, optional={"ruleTag": _foreign_tags})
_outbounds = st.fixed_dictionaries({"protocol": st.just("freedom"), "tag": _foreign_tags})
documents = st.fixed_dictionaries(
    {},
    optional={
        "inbounds": st.lists(foreign_inbounds, max_size=3),
        "outbounds": st.lists(
            st.fixed_dictionaries({"protocol": st.just("freedom"), "tag": _foreign_tags}), max_size=3
        ),
        "routing": st.fixed_dictionaries(
            {}, optional={"rules": st.lists(_rules, max_size=3), "balancers": json_values}
        ),
        "policy": st.fixed_dictionaries(
            {}, optional={"levels": st.just({"1": {"connIdle": 5}}), "system": json_values}
        ),
        "log": json_values,
        "dns": json_values,
    },
)
"""What an operator may have written."""


@given(inbounds())
def test_render_and_parse_are_inverses(inbound: Inbound) -> None:
    """What is read back from the file compares equal to what was written, field by field."""
    assert parse_inbound(render_inbound(inbound)) == inbound


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:  # noqa: ANN401 - any JSON
    """The ways to everything inside a JSON value."""
    if isinstance(value, dict | list):
        inside = value.items() if isinstance(value, dict) else enumerate(value)
        return [path] * bool(path) + [place for name, part in inside for place in places(part, (*path, name))]
    return [path]


@given(inbounds(), json_values, st.data())
def test_any_change_by_hand_is_seen(inbound: Inbound, value: object, data: st.DataObject) -> None:
    """One value anywhere is another: then it is not the inbound any more, and a type of its own is not ours at all."""
    raw = render_inbound(inbound)
    path = data.draw(st.sampled_from(places(raw)))
    inner: Any = raw
    for step in path[:-1]:
        inner = inner[step]
    before, inner[path[-1]] = inner[path[-1]], value
    found = parse_inbound(raw)
    if isinstance(found, Inbound) and not (value == before and type(value) is type(before)):
        assert found != inbound
        assert type(value) is type(before) or (isinstance(before, list) and isinstance(value, list))


@pytest.mark.parametrize("port", ["10001", True, 10001.0, "10001-10002", [10001], None])
def test_a_port_of_another_type_is_not_ours(port: object) -> None:
    """Xray takes some of them; they are told as foreign spellings, and rewritten."""
    raw = {**render_inbound(inbound_of(10001)), "port": port}
    found = parse_inbound(raw)
    assert isinstance(found, ForeignInbound)
    assert found.port in {10001, None}


@pytest.mark.parametrize("tag", [["key-1"], {}, 5, None])
def test_a_tag_of_another_type_does_not_break_reading(tag: object) -> None:
    """Tags are looked up by; whatever stands there becomes a text."""
    found = parse_inbound({**render_inbound(inbound_of(10001)), "tag": tag})
    assert isinstance(found, ForeignInbound)
    assert isinstance(found.tag, str)


def inbound_of(port: int) -> Inbound:
    """An inbound as plain as can be."""
    found = parse_inbound(
        {
            "tag": "key-1",
            "listen": "127.0.0.1",
            "port": port,
            "protocol": "vless",
            "settings": {
                "clients": [{"id": "0ca2b2d8-5f6c-4e0c-9d3d-2a4a1b7f9a10", "email": "a", "flow": ""}],
                "decryption": "none",
            },
            "streamSettings": {
                "network": "raw",
                "security": "reality",
                "realitySettings": {
                    "target": "a.example:443",
                    "serverNames": ["a.example"],
                    "privateKey": "A" * 43,
                    "minClientVer": "0.0.0",
                    "shortIds": ["0123456789abcdef"],
                },
            },
        }
    )
    assert isinstance(found, Inbound)
    return found


@given(st.dictionaries(st.sampled_from(["tag", "port", "protocol", "settings", "streamSettings", "x"]), json_values))
def test_anything_can_be_summed_up(raw: JsonObject) -> None:
    """However odd an inbound is, it is told by its tag, port and users; nothing is raised."""
    assert isinstance(parse_inbound(raw), ForeignInbound)
    assert summary(raw).tag == str(raw.get("tag", ""))
    assert summary(raw).protocol == str(raw.get("protocol", ""))


@given(documents, frames, desired_states())
def test_merging_again_changes_nothing(document: JsonObject, base: BaseConfig, desired: tuple[Inbound, ...]) -> None:
    """The second repair finds nothing to repair."""
    merged = merge(document, base, desired)
    assert merge(merged, base, desired) == merged


@given(documents, st.tuples(frames, desired_states()), st.tuples(frames, desired_states()))
def test_what_was_merged_before_leaves_no_trace(
    document: JsonObject, before: tuple[BaseConfig, tuple[Inbound, ...]], now: tuple[BaseConfig, tuple[Inbound, ...]]
) -> None:
    """Only what should be now is in the file, as if it had never been otherwise."""
    again, fresh = merge(merge(document, *before), *now), merge(document, *now)
    for one in (again, fresh):
        one["outbounds"] = [one["outbounds"][0], sorted(one["outbounds"][1:], key=repr)]
    assert again == fresh


@given(documents, frames, desired_states())
def test_the_operators_sections_stay(document: JsonObject, base: BaseConfig, desired: tuple[Inbound, ...]) -> None:
    """Their inbounds, outbounds, rules, policies and whatever else, in their order; the argument stays as it is."""
    kept = copy.deepcopy(document)
    merged = merge(document, base, desired)
    assert document == kept
    for name in ("log", "dns"):
        assert merged.get(name) == document.get(name, merged.get(name))
    assert [raw for raw in merged["inbounds"] if not belongs_to_us(raw)] == document.get("inbounds", [])
    foreign = [raw for raw in merged["outbounds"] if not raw["tag"].startswith(OWN_PREFIX)]
    assert foreign == document.get("outbounds", [])
    rules = [rule for rule in merged["routing"]["rules"] if not rule.get("ruleTag", "").startswith(OWN_PREFIX)]
    assert rules == document.get("routing", {}).get("rules", [])
    assert merged["policy"]["levels"].get("1") == document.get("policy", {}).get("levels", {}).get("1")


@given(documents, desired_states())
def test_ours_come_first(document: JsonObject, desired: tuple[Inbound, ...]) -> None:
    """The API, then what is wanted in its order; and our rules before anybody else's, allowing before blocking."""
    merged = merge(document, FRAME, desired)
    ours = merged["inbounds"][: len(desired) + 1]
    assert [raw["tag"] for raw in ours] == [API_TAG, *(inbound.tag for inbound in desired)]
    assert [parse_inbound(raw) for raw in ours[1:]] == list(desired)
    tags = [rule.get("ruleTag", "") for rule in merged["routing"]["rules"]]
    expected = ["api", "warm", "self-test", "allow-0", "allow-1", "localhost", "private"]
    assert tags[: len(expected)] == [OWN_PREFIX + name for name in expected]


@given(desired_states())
def test_an_operators_default_outbound_stays_the_default(desired: tuple[Inbound, ...]) -> None:
    """Xray sends by the first outbound: ours on a new file, theirs when they put one before ours."""
    fresh = merge({}, FRAME, desired)
    assert fresh["outbounds"][0]["tag"] == "vpnkeys-direct"
    assert fresh["outbounds"][0]["protocol"] == "freedom"
    fresh["outbounds"].insert(0, {"tag": "warp", "protocol": "wireguard"})
    again = merge(fresh, FRAME, desired)
    assert again["outbounds"] == fresh["outbounds"]


def test_the_api_is_for_its_owner_alone() -> None:
    """It has no authentication, so it is a socket of mode 0600, never a TCP port; counters are on for every user."""
    merged = merge({}, FRAME, ())
    (api,) = merged["inbounds"]
    assert api["listen"] == "/run/vpnkeys/api.sock,0600"
    assert "port" not in api
    assert merged["api"] == {"tag": API_TAG, "services": ["HandlerService", "StatsService"]}
    assert merged["policy"]["levels"]["0"]["statsUserUplink"] is True


@pytest.mark.parametrize(
    ("raw", "ours"),
    [
        ({"tag": "key-1", "port": 443}, True),
        ({"tag": "warm-a.example", "listen": "/x.sock"}, True),
        ({"tag": "vpnkeys-api"}, True),
        ({"tag": "mine", "port": 10001}, False),
        ({"tag": "mine", "port": 10000}, False),
        ({"tag": "keys", "port": 443}, False),
        ({"port": None}, False),
        ({}, False),
    ],
)
def test_what_we_answer_for(raw: JsonObject, ours: bool) -> None:
    """Tags of ours, wherever they listen; an inbound on a port of our range may be the operator's."""
    assert belongs_to_us(raw) is ours
