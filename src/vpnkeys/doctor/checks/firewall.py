"""The check that this host's own firewall lets in clients of the API and customers."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple

from vpnkeys.doctor.checks.packets import Chain, Fate, Ruleset
from vpnkeys.doctor.finding import Verdict, fail, ok, warn
from vpnkeys.doctor.installation import Installation
from vpnkeys.doctor.records import active_ports
from vpnkeys.xray.host.guard import bounds_table
from vpnkeys.xray.host.nft import NftImpossible, nft

Tool = Literal["ufw", "firewalld", "nft"]


class PortFate(NamedTuple):
    """The fate of a new connection to a port, and the chain that decides it."""

    port: int
    fate: Fate
    chain: Chain | None


@dataclass(frozen=True, slots=True)
class FirewallFacts:
    """The firewall's tool and the fate of each public port. `problem` says why the rules cannot be read."""

    tool: Tool
    fates: tuple[PortFate, ...] = ()
    problem: str = ""


def look(installation: Installation) -> FirewallFacts:
    """Read the kernel's rules. They include those of ufw and firewalld, and of iptables where it uses nftables."""
    wanted = tuple(_public_ports(installation))
    if not wanted:
        return FirewallFacts(_tool())
    try:
        # Our own bounds refuse only who has thousands of connections open.
        own = bounds_table(installation.settings.data_dir)
        ruleset = Ruleset.of(json.loads(nft("-j", "list", "ruleset")), without=own)
    except NftImpossible as error:
        return FirewallFacts(_tool(), problem=str(error))
    return FirewallFacts(_tool(), tuple(PortFate(port, *ruleset.fate(port)) for port in wanted))


def judge(facts: FirewallFacts) -> Iterable[Verdict]:
    """Report each range of ports that the firewall blocks or may block."""
    if facts.problem:
        yield warn(f"this host's firewall cannot be read ({facts.problem}); check that it lets the ports in")
        return
    hindered = [fate for fate in facts.fates if fate.fate is not Fate.PASSES]
    for (fate, chain), group in groupby(hindered, key=lambda hindered: hindered[1:]):
        for ports in _runs([member.port for member in group]):
            where = "" if chain is None else f"the chain {' '.join(chain)}"
            mend = "" if chain is None else _opening(facts.tool, chain, ports)
            if fate is Fate.DROPPED:
                yield fail(f"{where} of this host's firewall drops connections to TCP {ports}", mend)
            else:
                yield warn(f"{where} of this host's firewall may drop connections to TCP {ports}", mend)
    if not facts.fates:
        yield ok("the API and the keys listen on loopback only; no firewall is involved")
    elif not hindered:
        yield ok("this host's own firewall lets the ports in; the provider's cannot be checked from here")


def _public_ports(installation: Installation) -> Iterator[int]:
    settings = installation.settings
    if not ip_address(settings.listen.host).is_loopback:
        yield settings.listen.port
    if not ip_address(settings.inbound_listen).is_loopback:
        # Before the first key, the first port stands for all.
        yield from active_ports(installation) or (settings.port_range.ports[0],)


def _runs(ports: list[int]) -> Iterator[str]:
    """Yield consecutive numbers as `first-last`."""
    start = last = ports[0]
    for port in [*ports[1:], 0]:  # 0 continues no range, so it ends the last one
        if port != last + 1:
            yield str(start) if start == last else f"{start}-{last}"
            start = port
        last = port


def _opening(tool: Tool, chain: Chain, ports: str) -> str:
    """Return the command that lets the ports in, of the tool that wrote the rules and would overwrite others."""
    openings: dict[Tool, str] = {
        "ufw": f"ufw allow {ports.replace('-', ':')}/tcp",
        "firewalld": f"firewall-cmd --permanent --add-port={ports}/tcp && firewall-cmd --reload",
        "nft": f"nft insert rule {' '.join(chain)} tcp dport {ports} accept",
    }
    return openings[tool]


def _tool() -> Tool:
    try:
        is_ufw = "ENABLED=yes" in Path("/etc/ufw/ufw.conf").read_text(encoding="utf-8")
    except OSError:
        is_ufw = False
    if is_ufw:
        return "ufw"
    return "firewalld" if Path("/run/firewalld").is_dir() else "nft"
