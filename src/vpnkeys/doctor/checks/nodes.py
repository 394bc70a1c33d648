"""The check of the nodes elsewhere: what this server knows of each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from vpnkeys import __version__
from vpnkeys.client import Client, Node
from vpnkeys.doctor.finding import Verdict, fail, ok, warn
from vpnkeys.domain.nodes import LOCAL

_BEHIND_S: Final = 30.0
_ODD_S, _WRONG_S = 5.0, 60.0
_MOST_MINORS: Final = 1
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class NodesFacts:
    """All nodes as the server shows them at a moment, and the version of this program."""

    nodes: tuple[Node, ...]
    now: datetime
    version: str = __version__


def look(server: Client) -> NodesFacts:
    """Ask the server."""
    return NodesFacts(tuple(server.nodes.list()), datetime.now(UTC))


def judge(facts: NodesFacts) -> Iterable[Verdict]:
    """Report what is wrong with each node elsewhere, by its name."""
    far = [node for node in facts.nodes if node.id != LOCAL.id]
    if not far:
        yield ok("all keys live on this server")
    for node in far:
        troubles = [*_troubles(node, facts)]
        yield from troubles
        if not troubles:
            yield ok(f"{node.name} is {node.state}, with {node.keys} key(s)")


def _troubles(node: Node, facts: NodesFacts) -> Iterator[Verdict]:
    if node.state == "lost":
        return
    if node.state == "joining":
        yield warn(
            f"{node.name} has not joined: run the command of `vpnkeys nodes add` on its machine; when its 15 minutes "
            "are over, remove the node and add it again",
            f"vpnkeys nodes rm {node.name}",
        )
        return
    if node.state == "silent":
        heard = "never" if node.seen_at is None else f"{(facts.now - node.seen_at).total_seconds():.0f} s ago"
        yield fail(
            f"{node.name} is silent, last heard of {heard}: on its machine, see whether `vpnkeys agent` runs and what "
            f"its log says; if the machine is gone for good, `vpnkeys nodes set {node.name} --state lost`"
        )
    else:
        yield from _while_it_reports(node)
    yield from _of_keys(node)
    yield from _of_version(node, facts.version)


def _while_it_reports(node: Node) -> Iterator[Verdict]:
    if node.applied != node.desired and node.lag_s > _BEHIND_S:
        yield warn(f"{node.name} has not had its present keys for {node.lag_s:.0f} s; its agent's log says why")
    if not node.names_ready:
        yield fail(f"no server name works on {node.name}: no key can be made there; its agent's log says why")
    ahead_s = node.clock_ahead_s or 0.0
    if abs(ahead_s) > _ODD_S:
        verdict = fail if abs(ahead_s) > _WRONG_S else warn
        words = f"{abs(ahead_s):.0f} s {'ahead' if ahead_s > 0 else 'behind'}"
        yield verdict(
            f"the clock of {node.name} is {words}: its keys expire at the wrong time; on its machine: "
            "`timedatectl set-ntp true`"
        )


def _of_keys(node: Node) -> Iterator[Verdict]:
    if node.failed:
        named = [f"{key_id} ({code})" for key_id, code in node.failed.items()]
        more = f", and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
        yield fail(
            f"{len(named)} key(s) are not on {node.name} as they should be: {', '.join(named[:_SHOWN])}{more}",
            f"vpnkeys nodes show {node.name}",
        )


def _of_version(node: Node, own: str) -> Iterator[Verdict]:
    theirs, ours = _minor(node.version), _minor(own)
    if theirs is None or ours is None or (theirs[0] == ours[0] and abs(theirs[1] - ours[1]) <= _MOST_MINORS):
        return
    older = node.name if theirs < ours else "this server"
    yield warn(
        f"{node.name} runs vpnkeys {node.version}, more than one minor version from {own} here: upgrade {older} by "
        "`vpnkeys upgrade`"
    )


def _minor(version: str) -> tuple[int, int] | None:
    """Return the first two numbers of a version; None where there are none."""
    numbers = version.split(".")[:2]
    if len(numbers) < len(("major", "minor")) or not all(number.isdecimal() for number in numbers):
        return None
    return int(numbers[0]), int(numbers[1])
