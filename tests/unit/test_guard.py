"""The guard's ruleset as text, and what config.json says with a guard and without one."""

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from vpnkeys.domain.networks import PRIVATE_NETWORKS
from vpnkeys.domain.portpool import PortRange
from vpnkeys.xray.config.document import BaseConfig, has_own_dns, merge
from vpnkeys.xray.host import nft
from vpnkeys.xray.host.guard import Guard, GuardImpossible, Policy, mark_of, ruleset, table_of

DIRS = [Path(f"/srv/vpnkeys-{number}") for number in range(2000)]


def base(**more: Any) -> BaseConfig:  # noqa: ANN401 - fields of BaseConfig
    """A base with little in it."""
    return BaseConfig("/run/api.sock", PortRange(10001, 10100), **more)


def rules(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Our routing rules by their tag, in order."""
    return {rule["ruleTag"]: rule for rule in document["routing"]["rules"] if "ruleTag" in rule}


def outbounds(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The outbounds by their tag, in order."""
    return {outbound["tag"]: outbound for outbound in document["outbounds"]}


def lines(policy: Policy) -> list[str]:
    """The ruleset, line by line."""
    return ruleset("vpnkeys_0", policy).splitlines()


def test_marks_keep_away_from_other_programs() -> None:
    """Every mark is even, fits 31 bits and uses none of the bits that container networks and VPN programs test."""
    for mark in map(mark_of, DIRS):
        assert 0 < mark < 1 << 31
        assert mark & 0x00FFFF01 == 0
        assert mark & 0x7F000000


def test_two_servers_seldom_meet() -> None:
    """Data directories have tables of their own and nearly always marks of their own; the same one has the same."""
    assert len(set(map(table_of, DIRS))) == len(DIRS)
    assert len(set(map(mark_of, DIRS))) > 0.9 * len(DIRS)
    assert mark_of(DIRS[0]) == mark_of(Path(f"{DIRS[0]}/../{DIRS[0].name}"))


def test_one_transaction_replaces_what_was_there() -> None:
    """The table is made, deleted and made again in one text, so that applying it twice is applying it once."""
    assert lines(Policy(2))[:3] == ["table inet vpnkeys_0", "delete table inet vpnkeys_0", "table inet vpnkeys_0 {"]


def test_every_private_network_is_in_a_set() -> None:
    """Nothing that routing blocks is missing in the kernel."""
    text = ruleset("vpnkeys_0", Policy(2))
    assert all(network in text for network in PRIVATE_NETWORKS)


def test_other_packets_are_left_alone_first() -> None:
    """The first rule lets everything without the mark go on to whoever judges it next."""
    text = lines(Policy(0x5000002))
    hook = next(number for number, line in enumerate(text) if "hook output" in line)
    assert text[hook + 1] == f"meta mark != {0x5000002} accept"


def test_the_allow_list_comes_before_the_refusal() -> None:
    """An entry with a port opens that port by TCP and UDP, one without opens all; both before anything is refused."""
    text = lines(Policy(2, (("10.1.0.0/16", 53), ("fd00::/8", None))))
    refused = text.index("ip daddr @private4 goto refuse")
    for rule in ("ip daddr 10.1.0.0/16 tcp dport 53 accept", "ip daddr 10.1.0.0/16 udp dport 53 accept"):
        assert text.index(rule) < refused
    assert text.index("ip6 daddr fd00::/8 accept") < refused


def test_the_panel_is_open_on_public_addresses_only() -> None:
    """The API's port comes after the private networks and before this host's own addresses."""
    text = lines(Policy(2, api_port=8000))
    panel = text.index("fib daddr type local tcp dport 8000 accept")
    assert text.index("ip6 daddr @private6 goto refuse") < panel
    assert text[panel + 1].startswith("fib daddr type { local")
    assert not any("8000" in line for line in lines(Policy(2)))


def test_what_a_policy_allows() -> None:
    """A destination is allowed when an entry covers its address and names its port or none."""
    policy = Policy(2, (("127.0.0.0/8", 53), ("::1/128", None)))
    assert policy.allows("127.0.0.1", 53)
    assert not policy.allows("127.0.0.1", 54)
    assert policy.allows("::1", 54)
    assert not policy.allows("::2", 54)


def test_without_nft_it_is_impossible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A host without nft is told what is missing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GuardImpossible, match="install nftables"):
        Guard("vpnkeys_0", Policy(2)).install()


def test_what_nft_refuses_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A host that does not let us gives nft's own reason, and what may be there is deleted."""
    script = tmp_path / "nft"
    script.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/said\necho "Error: Operation not permitted" >&2\nexit 1\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GuardImpossible, match="nft: Operation not permitted"):
        Guard("vpnkeys_0", Policy(2)).install()
    assert (tmp_path / "said").read_text() == "-f -\ndelete table inet vpnkeys_0\n"


def test_a_table_that_does_not_work_is_no_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A marked packet that arrives all the same is noticed at once."""
    monkeypatch.setattr(nft, "nft", lambda *_, text="": "")
    with pytest.raises(GuardImpossible, match=r"passed it|Operation not permitted"):
        Guard("vpnkeys_0", Policy(mark_of(DIRS[0]))).install()


def test_with_a_guard_what_goes_out_is_marked() -> None:
    """With a mark there is one way out, marked, and UDP has no other."""
    document = merge({}, base(mark=2, egress_allow=(("10.0.0.1/32", 53),)), [])
    assert outbounds(document)["vpnkeys-direct"]["streamSettings"] == {"sockopt": {"mark": 2}}
    assert "vpnkeys-udp" not in outbounds(document)
    assert not any(tag.endswith("udp") for tag in rules(document))


def test_without_a_guard_udp_has_its_own_way() -> None:
    """Without a mark UDP leaves through another outbound, allowed destinations too; that rule is the last."""
    document = merge({}, base(egress_allow=(("10.0.0.1/32", 53),)), [])
    assert outbounds(document)["vpnkeys-udp"]["streamSettings"] == {"sockopt": {"dialerProxy": "vpnkeys-direct"}}
    tags = list(rules(document))
    assert tags.index("vpnkeys-allow-0-udp") < tags.index("vpnkeys-allow-0") < tags.index("vpnkeys-private")
    assert tags[-1] == "vpnkeys-udp"
    assert next(iter(outbounds(document))) == "vpnkeys-direct"


def test_gaining_and_losing_the_guard_leaves_no_trace() -> None:
    """A document that went through both is the same as one that did not."""
    guarded, unguarded = base(mark=2), base()
    assert merge(merge(merge({}, guarded, []), unguarded, []), guarded, []) == merge({}, guarded, [])
    there_and_back = merge(merge({}, guarded, []), unguarded, [])
    assert outbounds(there_and_back) == outbounds(merge({}, unguarded, []))
    assert merge(there_and_back, unguarded, []) == there_and_back


def test_an_operators_way_out_stays_the_default() -> None:
    """Where the operator's own outbound comes first, UDP is not led past it; and its rules stay behind ours."""
    document = merge({}, base(), [])
    document["outbounds"].insert(0, {"tag": "elsewhere", "protocol": "freedom"})
    document["routing"]["rules"].append({"network": "udp", "port": "53", "outboundTag": "elsewhere"})
    again = merge(document, base(), [])
    assert next(iter(outbounds(again))) == "elsewhere"
    assert "vpnkeys-udp" not in rules(again)
    assert again["routing"]["rules"][-1]["outboundTag"] == "elsewhere"


def test_own_addresses_are_closed_but_for_the_panel() -> None:
    """This host's public addresses are blocked, its API's port by TCP excepted, which comes first."""
    found = rules(merge({}, base(own_addresses=("198.20.0.1",), api_port=8000), []))
    tags = list(found)
    assert tags.index("vpnkeys-private") < tags.index("vpnkeys-panel") < tags.index("vpnkeys-own")
    assert found["vpnkeys-panel"]["network"] == "tcp"
    assert found["vpnkeys-panel"]["port"] == "8000"
    assert found["vpnkeys-own"]["outboundTag"] == "vpnkeys-blocked"
    assert "vpnkeys-panel" not in rules(merge({}, base(own_addresses=("198.20.0.1",)), []))


def test_without_a_guard_names_have_no_private_address() -> None:
    """Xray checks and dials by a `dns` section of ours, which does not know what is closed; a mark needs none."""
    allowed = (("10.1.0.0/16", None), ("10.2.0.1/32", 53))
    document = merge({}, base(egress_allow=allowed, own_addresses=("198.20.0.1",)), [])
    (server,) = document["dns"]["servers"]
    closed = [ip_network(one) for one in server["unexpectedIPs"]]
    for inside in ("127.0.0.1", "10.0.0.1", "10.2.0.1", "198.20.0.1", "::1", "fd00::1", "169.254.169.254"):
        assert any(ip_address(inside) in network for network in closed), inside
    for outside in ("10.1.2.3", "192.0.1.1", "2606:4700::1"):
        assert not any(ip_address(outside) in network for network in closed), outside
    assert {outbounds(document)[tag]["settings"]["domainStrategy"] for tag in ("vpnkeys-direct", "vpnkeys-udp")} == {
        "ForceIPv4v6"
    }
    assert "dns" not in merge(document, base(mark=2), [])


def test_an_operators_names_stay() -> None:
    """The operator's own `dns` section stays, with a guard and without, and is known."""
    own = {"dns": {"servers": ["192.0.2.53"]}}
    assert merge(own, base(), [])["dns"] == own["dns"]
    assert merge(own, base(mark=2), [])["dns"] == own["dns"]
    assert has_own_dns(own)
    assert not has_own_dns(merge({}, base(), []))
