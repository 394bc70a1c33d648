"""What a firewall does with a new connection, read off the kernel's own rules, as nft prints them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from vpnkeys.doctor.checks.packets import Chain, Fate, Ruleset

PORT = 10001
_POSSIBLE = os.geteuid() == 0 and shutil.which("nft") and shutil.which("unshare")

pytestmark = pytest.mark.skipif(not _POSSIBLE, reason="needs root, nft and unshare")


def _ruleset(rules: str, more: str = "", policy: str = "drop") -> Ruleset:
    """The rules of an input chain as a kernel of the test's own gives them back."""
    chain = f"chain input {{ type filter hook input priority 0; policy {policy};\n{rules}\n}}"
    text = f"table inet filter {{\n{more}\n{chain}\n}}"
    command = ["unshare", "--net", "sh", "-c", "nft -f - && nft -j list ruleset"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Ruleset.of(json.loads(done.stdout))


def test_a_table_may_be_left_out() -> None:
    """The server's own bounds of connections are no firewall that hinders customers."""
    chain = {"family": "inet", "table": "ours", "name": "input", "hook": "input", "type": "filter", "policy": "drop"}
    document = {"nftables": [{"chain": chain}]}
    assert Ruleset.of(document).fate(10001)[0] is Fate.DROPPED
    assert Ruleset.of(document, without="ours").fate(10001)[0] is Fate.PASSES


@pytest.mark.parametrize(
    ("rules", "policy", "fate"),
    [
        ("", "accept", Fate.PASSES),
        ("", "drop", Fate.DROPPED),
        ("tcp dport 10001 accept", "drop", Fate.PASSES),
        ("tcp dport 10002 accept", "drop", Fate.DROPPED),
        ("tcp dport 10000-10100 accept", "drop", Fate.PASSES),
        ("tcp dport { 22, 10000-10100 } accept", "drop", Fate.PASSES),
        ("tcp dport { 22, 443 } accept", "drop", Fate.DROPPED),
        ("tcp dport != 22 accept", "drop", Fate.PASSES),
        ("tcp dport != 10001 accept", "drop", Fate.DROPPED),
        ("udp dport 10001 accept", "drop", Fate.DROPPED),
        ("ct state established,related accept\ntcp dport 10001 accept", "drop", Fate.PASSES),
        ("ct state established,related accept", "drop", Fate.DROPPED),
        ("ct state vmap { established : accept, invalid : drop }\ntcp dport 10001 accept", "drop", Fate.PASSES),
        ("ct state invalid drop", "accept", Fate.PASSES),
        ("ct state new tcp dport 10001 counter log accept", "drop", Fate.PASSES),
        ('iifname "lo" accept', "drop", Fate.DROPPED),
        ('iifname "eth0" tcp dport 10001 accept', "drop", Fate.PERHAPS),
        ("ip saddr 192.0.2.0/24 accept", "drop", Fate.PERHAPS),
        ("ip saddr 192.0.2.0/24 drop", "accept", Fate.PASSES),
        ("meta l4proto tcp accept", "drop", Fate.PASSES),
        ("meta l4proto { icmp, ipv6-icmp } accept", "drop", Fate.DROPPED),
        ("ip protocol icmp accept", "drop", Fate.DROPPED),
        ("tcp dport 10001 limit rate 10/second accept", "drop", Fate.PERHAPS),
        ("tcp dport 10001 drop", "accept", Fate.DROPPED),
        ("tcp dport 10001 reject", "accept", Fate.DROPPED),
        ("tcp dport vmap { 22 : accept, 10001 : accept }", "drop", Fate.PASSES),
        ("tcp dport 10001 accept\ndrop", "accept", Fate.PASSES),
        ("drop\ntcp dport 10001 accept", "accept", Fate.DROPPED),
    ],
)
def test_the_fate_of_a_connection(rules: str, policy: str, fate: Fate) -> None:
    """By the first rule that holds for sure, else by the policy; what depends on more is "perhaps"."""
    found, chain = _ruleset(rules, policy=policy).fate(PORT)
    assert found is fate
    assert chain == (None if fate is Fate.PASSES else Chain("inet", "filter", "input"))


@pytest.mark.parametrize(
    ("verdict", "fate"), [("accept", Fate.PASSES), ("drop", Fate.DROPPED), ("return", Fate.DROPPED)]
)
def test_other_chains_and_sets_are_followed(verdict: str, fate: Fate) -> None:
    """A jump goes where it leads and comes back; a named set holds what it holds."""
    more = (
        "set open { type inet_service; flags interval; elements = { 22, 10000-10100 } }\n"
        f"chain deep {{ tcp dport @open {verdict}; }}\nchain keys {{ jump deep; }}"
    )
    assert _ruleset("jump keys", more).fate(PORT)[0] is fate
    assert _ruleset("jump keys", more).fate(9)[0] is Fate.DROPPED
    assert _ruleset('iifname "eth0" jump keys', more).fate(PORT)[0] is (
        Fate.PERHAPS if verdict == "accept" else Fate.DROPPED
    )


def test_every_chain_has_to_let_it_in() -> None:
    """Accepted by one is not accepted by the next."""
    other = "chain second { type filter hook input priority 10; policy accept; tcp dport 10001 drop; }"
    assert _ruleset("tcp dport 10001 accept", other).fate(PORT) == (Fate.DROPPED, Chain("inet", "filter", "second"))


def test_what_is_not_about_what_comes_in_does_not_matter() -> None:
    """Other hooks and types are not asked."""
    other = "chain out { type filter hook output priority 0; policy drop; }"
    assert _ruleset("", other, policy="accept").fate(PORT) == (Fate.PASSES, None)
