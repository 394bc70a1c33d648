"""What an nftables ruleset does with a new TCP connection from outside, as far as that can be told.

The ruleset is what `nft -j list ruleset` prints (libnftables-json(5)). What depends on more than the port, such as the
interface or the sender's address, counts as "perhaps".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

Json: TypeAlias = Mapping[str, Any]
_Place: TypeAlias = tuple[str, str, str]

_ACCEPT, _DROP, _ON = "accept", "drop", "on"
_ENDS: Mapping[str, str] = {"accept": _ACCEPT, "drop": _DROP, "reject": _DROP, "return": _ON}
_MAX_DEPTH = 16


class Fate(StrEnum):
    """What becomes of the connection."""

    PASSES = "passes"
    PERHAPS = "perhaps"
    DROPPED = "dropped"


class Chain(NamedTuple):
    """A base chain, as nft commands name it."""

    family: str
    table: str
    name: str


class Way(NamedTuple):
    """How a walk through a chain ends for sure, and how it may end before, by rules that depend on more."""

    end: str
    perhaps: frozenset[str]


@dataclass(frozen=True, slots=True)
class Ruleset:
    """A ruleset, by chain."""

    inputs: tuple[tuple[Chain, str], ...]
    rules: Mapping[_Place, tuple[Json, ...]]
    sets: Mapping[_Place, tuple[Any, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Json) -> "Ruleset":
        """From the JSON of `nft`."""
        inputs: list[tuple[Chain, str]] = []
        rules: dict[_Place, list[Json]] = {}
        sets: dict[_Place, tuple[Any, ...]] = {}
        for item in document.get("nftables", ()):
            if "chain" in item:
                chain = item["chain"]
                if chain.get("hook") == "input" and chain.get("type") == "filter":
                    place = Chain(chain["family"], chain["table"], chain["name"])
                    inputs.append((place, chain.get("policy", _ACCEPT)))
            elif "rule" in item:
                rule = item["rule"]
                rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule)
            elif "set" in item:
                named = item["set"]
                sets[named["family"], named["table"], named["name"]] = tuple(named.get("elem", ()))
        return cls(tuple(inputs), {place: tuple(found) for place, found in rules.items()}, sets)

    def fate(self, port: int) -> tuple[Fate, Chain | None]:
        """What becomes of a new connection to a port, and by which chain: every one has to let it in."""
        doubtful: Chain | None = None
        for chain, policy in self.inputs:
            if chain.family not in {"ip", "ip6", "inet"}:
                continue
            way = self._walk(chain, port, 0)
            if (policy if way.end == _ON else way.end) == _ACCEPT:
                continue
            if _ACCEPT not in way.perhaps:
                return Fate.DROPPED, chain
            doubtful = doubtful or chain
        return (Fate.PERHAPS, doubtful) if doubtful else (Fate.PASSES, None)

    def _walk(self, place: _Place, port: int, depth: int) -> Way:
        perhaps: set[str] = set()
        for rule in self.rules.get(place, ()):
            applies, way = self._rule(rule, port, depth)
            if applies is False:
                continue
            perhaps |= way.perhaps
            if applies is None:
                perhaps.add(way.end)
            elif way.end != _ON:
                return Way(way.end, frozenset(perhaps - {_ON}))
        return Way(_ON, frozenset(perhaps - {_ON}))

    def _rule(self, rule: Json, port: int, depth: int) -> tuple[bool | None, Way]:
        """Whether a rule applies, and what it does then."""
        place = (rule["family"], rule["table"])
        applies: bool | None = True
        for expression in rule.get("expr", ()):
            ((kind, value),) = expression.items()
            if kind == "match":
                holds = self._holds(value["left"], value["right"], place, port)
                holds = (not holds) if value["op"] == "!=" and holds is not None else holds
                if holds is False:
                    return False, Way(_ON, frozenset())
                applies = applies if holds else None
            elif kind in _ENDS:
                return applies, Way(_ENDS[kind], frozenset())
            elif kind in {"jump", "goto"}:
                return applies, self._jump(value["target"], place, port, depth)
            elif kind == "vmap":
                return applies, self._by_map(value, place, port, depth)
            elif kind in {"xt", "limit", "ct count", "quota"}:
                applies = None
        return applies, Way(_ON, frozenset())

    def _jump(self, target: str, place: tuple[str, str], port: int, depth: int) -> Way:
        if depth >= _MAX_DEPTH:
            return Way(_ON, frozenset({_ACCEPT}))
        return self._walk((*place, target), port, depth + 1)

    def _by_map(self, value: Json, place: tuple[str, str], port: int, depth: int) -> Way:
        data = value["data"]
        pairs = data["set"] if isinstance(data, dict) else self.sets.get((*place, str(data).lstrip("@")), ())
        perhaps: set[str] = set()
        for key, verdict in pairs:
            rule = {"family": place[0], "table": place[1], "expr": [verdict]}
            holds = self._holds(value["key"], key, place, port)
            if holds is False:
                continue
            _, way = self._rule(rule, port, depth)
            if holds:
                return Way(way.end, frozenset(perhaps) | way.perhaps)
            perhaps |= {way.end, *way.perhaps}
        return Way(_ON, frozenset(perhaps))

    def _holds(self, left: Any, right: Any, place: tuple[str, str], port: int) -> bool | None:  # noqa: ANN401 - any JSON
        """Whether a match holds for a new TCP connection to the port; None when that depends on more."""
        values = tuple(self._values(right, place))
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
                return False if values == ("lo",) else None
            case _:
                return None

    def _values(self, right: Any, place: tuple[str, str]) -> Iterable[Any]:  # noqa: ANN401 - any JSON
        """The values that a right side stands for."""
        if isinstance(right, list):
            yield from right
        elif isinstance(right, dict) and "set" in right:
            inner = right["set"]
            yield from inner if isinstance(inner, list) else [inner]
        elif isinstance(right, str) and right.startswith("@"):
            yield from self.sets.get((*place, right[1:]), ())
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
