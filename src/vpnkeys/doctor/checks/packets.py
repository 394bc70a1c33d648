"""A simulation of an nftables ruleset: what it does with a new TCP connection from another machine to a port.

The ruleset is what `nft -j list ruleset` prints (libnftables-json(5)). A rule that depends on more than the port, such
as the interface or the sender's address, counts as "perhaps".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

Json: TypeAlias = Mapping[str, Any]
_ChainId: TypeAlias = tuple[str, str, str]

_ACCEPT, _DROP, _CONTINUES = "accept", "drop", "continues"
_ENDS: Mapping[str, str] = {"accept": _ACCEPT, "drop": _DROP, "reject": _DROP, "return": _CONTINUES}
_MAX_DEPTH = 16


class Fate(StrEnum):
    """A fate says whether the connection passes the firewall."""

    PASSES = "passes"
    PERHAPS = "perhaps"
    DROPPED = "dropped"


class Chain(NamedTuple):
    """A chain, as nft commands name it."""

    family: str
    table: str
    name: str


class ChainResult(NamedTuple):
    """The verdict of a chain if no "perhaps" rule applies, and the verdicts that such rules may give before it."""

    end: str
    perhaps: frozenset[str]


@dataclass(frozen=True, slots=True)
class Ruleset:
    """A ruleset: its input chains with their policies, the rules by chain, and the named sets and maps."""

    inputs: tuple[tuple[Chain, str], ...]
    rules: Mapping[_ChainId, tuple[Json, ...]]
    sets: Mapping[_ChainId, tuple[Any, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Json, without: str = "") -> "Ruleset":
        """Return the ruleset in the JSON document of `nft`, without the input chains of one table."""
        inputs: list[tuple[Chain, str]] = []
        rules: dict[_ChainId, list[Json]] = {}
        sets: dict[_ChainId, tuple[Any, ...]] = {}
        for item in document.get("nftables", ()):
            if "chain" in item:
                chain = item["chain"]
                is_filter = chain.get("hook") == "input" and chain.get("type") == "filter"
                if is_filter and chain["table"] != without:
                    chain_id = Chain(chain["family"], chain["table"], chain["name"])
                    inputs.append((chain_id, chain.get("policy", _ACCEPT)))
            elif "rule" in item:
                rule = item["rule"]
                rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule)
            elif "set" in item:
                named = item["set"]
                sets[named["family"], named["table"], named["name"]] = tuple(named.get("elem", ()))
        return cls(tuple(inputs), {chain_id: tuple(found) for chain_id, found in rules.items()}, sets)

    def fate(self, port: int) -> tuple[Fate, Chain | None]:
        """Return the fate of a new connection to a port, and the chain that decides it; None when it passes.

        Every input chain has to accept it: an accept in one does not end the others (nft(8), "Verdict statements").
        """
        doubtful: Chain | None = None
        for chain, policy in self.inputs:
            if chain.family not in {"ip", "ip6", "inet"}:
                continue
            way = self._walk(chain, port, 0)
            if (policy if way.end == _CONTINUES else way.end) == _ACCEPT:
                continue
            if _ACCEPT not in way.perhaps:
                return Fate.DROPPED, chain
            doubtful = doubtful or chain
        return (Fate.PERHAPS, doubtful) if doubtful else (Fate.PASSES, None)

    def _walk(self, chain: _ChainId, port: int, depth: int) -> ChainResult:
        perhaps: set[str] = set()
        for rule in self.rules.get(chain, ()):
            applies, way = self._rule(rule, port, depth)
            if applies is False:
                continue
            perhaps |= way.perhaps
            if applies is None:
                perhaps.add(way.end)
            elif way.end != _CONTINUES:
                return ChainResult(way.end, frozenset(perhaps - {_CONTINUES}))
        return ChainResult(_CONTINUES, frozenset(perhaps - {_CONTINUES}))

    def _rule(self, rule: Json, port: int, depth: int) -> tuple[bool | None, ChainResult]:
        """Return whether a rule applies (None: perhaps), and its verdict if it does."""
        table = (rule["family"], rule["table"])
        applies: bool | None = True
        for expression in rule.get("expr", ()):
            ((kind, value),) = expression.items()
            if kind == "match":
                holds = self._holds(value["left"], value["right"], table, port)
                holds = (not holds) if value["op"] == "!=" and holds is not None else holds
                if holds is False:
                    return False, ChainResult(_CONTINUES, frozenset())
                applies = applies if holds else None
            elif kind in _ENDS:
                return applies, ChainResult(_ENDS[kind], frozenset())
            elif kind in {"jump", "goto"}:
                return applies, self._jump(value["target"], table, port, depth)
            elif kind == "vmap":
                return applies, self._by_map(value, table, port, depth)
            # xt: an extension of iptables, whose details nft does not print. The others depend on earlier packets.
            elif kind in {"xt", "limit", "ct count", "quota"}:
                applies = None
        return applies, ChainResult(_CONTINUES, frozenset())

    def _jump(self, target: str, table: tuple[str, str], port: int, depth: int) -> ChainResult:
        # nftables itself refuses more than 16 nested jumps (NFT_JUMP_STACK_SIZE), and loops.
        if depth >= _MAX_DEPTH:
            return ChainResult(_CONTINUES, frozenset({_ACCEPT}))
        return self._walk((*table, target), port, depth + 1)

    def _by_map(self, value: Json, table: tuple[str, str], port: int, depth: int) -> ChainResult:
        data = value["data"]
        pairs = data["set"] if isinstance(data, dict) else self.sets.get((*table, str(data).lstrip("@")), ())
        perhaps: set[str] = set()
        for key, verdict in pairs:
            rule = {"family": table[0], "table": table[1], "expr": [verdict]}
            holds = self._holds(value["key"], key, table, port)
            if holds is False:
                continue
            _, way = self._rule(rule, port, depth)
            if holds:
                return ChainResult(way.end, frozenset(perhaps) | way.perhaps)
            perhaps |= {way.end, *way.perhaps}
        return ChainResult(_CONTINUES, frozenset(perhaps))

    def _holds(self, left: Any, right: Any, table: tuple[str, str], port: int) -> bool | None:  # noqa: ANN401 - any JSON
        """Return whether a match holds for a new TCP connection to the port; None when it depends on more."""
        values = tuple(self._values(right, table))
        match left:
            case {"payload": {"protocol": "tcp" | "th", "field": "dport"}}:
                return any(_is_in(port, value) for value in values)
            case {"payload": {"protocol": "udp" | "icmp" | "icmpv6" | "sctp"}}:
                return False
            case {"meta": {"key": "l4proto"}} | {"payload": {"field": "protocol" | "nexthdr"}}:
                return any(value in {"tcp", 6} for value in values)
            case {"ct": {"key": "state"}}:
                return "new" in values
            case {"meta": {"key": "iifname" | "iif"}}:
                # A connection from another machine never arrives on "lo".
                return False if values == ("lo",) else None
            case _:
                return None

    def _values(self, right: Any, table: tuple[str, str]) -> Iterable[Any]:  # noqa: ANN401 - any JSON
        """Yield the values on the right side of a match, those of a named set included."""
        if isinstance(right, list):
            yield from right
        elif isinstance(right, dict) and "set" in right:
            inner = right["set"]
            yield from inner if isinstance(inner, list) else [inner]
        elif isinstance(right, str) and right.startswith("@"):
            yield from self.sets.get((*table, right[1:]), ())
        else:
            yield right


def _is_in(port: int, value: Any) -> bool:  # noqa: ANN401 - any JSON
    match value:
        case {"range": [int(first), int(last)]}:
            return first <= port <= last
        case {"elem": {"val": inner}}:
            return _is_in(port, inner)
        case _:
            return bool(value == port)
