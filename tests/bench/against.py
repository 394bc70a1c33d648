"""Servers of the "VPN Key Management API 2.3.4" side by side, measured from outside alone.

`./test --bench --against URL [URL ...]`, with each server's API key before its host: https://API_KEY@203.0.113.10:8000.
They are asked in turn, so that all of them have the same minutes of this machine. Use servers without customers: keys
are made, and deleted in the end. Limits on requests have to be off (here `VPNKEYS_RATE_LIMITS=off`), and certificates
are not verified.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from urllib.parse import urlsplit

from tests.bench.book import Spread
from tests.bench.wrk import CONNECTIONS, rate
from tests.support.lean import LeanClient
from tests.support.process import REPOSITORY

KEYS = (10, 50, 90)
SAMPLES, WARM_UP, HAMMER_S = 50, 3, 2
_BODY = b'{"name": "bench"}'
_WRITTEN = REPOSITORY / "build" / "against.json"


@dataclass(slots=True)
class Peer:
    """One of the servers, and the keys that were made on it."""

    url: str
    api_key: str
    client: LeanClient
    ids: list[str] = field(default_factory=list)

    @classmethod
    def at(cls, given: str) -> Peer:
        """The server that a URL names. Raises ValueError."""
        parts = urlsplit(given)
        if parts.scheme not in {"http", "https"} or not parts.username or not parts.hostname:
            raise ValueError(f"{given} is not like https://API_KEY@HOST:PORT")
        place = parts.netloc.rpartition("@")[2]
        url = f"{parts.scheme}://{place}"
        return cls(url, parts.username, LeanClient.unverified(url, parts.username))

    def make(self) -> str:
        """Make a key, and return its id."""
        key_id = str(self.client.ask("POST", "/api/keys", _BODY)["id"])
        self.ids.append(key_id)
        return key_id

    def delete(self) -> None:
        """Delete the key that was made last."""
        self.client.ask("DELETE", f"/api/keys/{self.ids[-1]}")
        self.ids.pop()


Row = tuple[str, str, list[float]]
"""What was measured, its unit, and what it is on each of the servers."""


def _in_turn(peers: Sequence[Peer], act: Callable[[Peer], object], after: Callable[[Peer], object]) -> list[float]:
    """Return the median of what something takes on each server, in milliseconds. `after` is not timed."""
    taken: list[list[float]] = [[] for _ in peers]
    for _ in range(WARM_UP + SAMPLES):
        for peer, times in zip(peers, taken, strict=True):
            began = time.perf_counter()
            act(peer)
            times.append((time.perf_counter() - began) * 1e3)
            after(peer)
    return [Spread.of(times[WARM_UP:]).p50 for times in taken]


def _nothing(_peer: Peer) -> None:
    """There is nothing to put right."""


def _get_one(peer: Peer) -> None:
    peer.client.ask("GET", f"/api/keys/{peer.ids[0]}")


def _get_all(peer: Peer) -> None:
    peer.client.ask("GET", "/api/keys")


def _rate(path: str, peer: Peer) -> float:
    return rate(f"{peer.url}{path.format(peer.ids[0])}", peer.api_key, HAMMER_S)


def rows(peers: Sequence[Peer], counts: Sequence[int]) -> Iterator[Row]:
    """Yield what is measured, at each number of keys."""
    for count in counts:
        for peer in peers:
            while len(peer.ids) < count:
                peer.make()
        yield f"create a key, {count} present", "ms", _in_turn(peers, Peer.make, Peer.delete)
        for peer in peers:
            peer.make()
        yield f"delete a key, {count} present", "ms", _in_turn(peers, Peer.delete, Peer.make)
        for peer in peers:
            peer.delete()
        yield f"get one of {count} keys", "ms", _in_turn(peers, _get_one, _nothing)
        yield f"list {count} keys", "ms", _in_turn(peers, _get_all, _nothing)
    for what, path in ((f"get one of {counts[-1]} keys", "/api/keys/{}"), (f"list {counts[-1]} keys", "/api/keys")):
        yield f"{what}, {CONNECTIONS} connections", "1/s", [_rate(path, peer) for peer in peers]


@contextmanager
def _connected(peers: Sequence[Peer]) -> Iterator[None]:
    """Connect, and delete in the end what was made."""
    with ExitStack() as stack:
        for peer in peers:
            stack.enter_context(peer.client)
            stack.callback(partial(_empty, peer))
        yield


def _empty(peer: Peer) -> None:
    with suppress(OSError, HTTPException, RuntimeError):
        while peer.ids:
            peer.delete()
    if peer.ids:
        sys.stderr.write(f"{peer.url} still has {len(peer.ids)} keys named bench; delete them.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, and keep it as JSON; 1 when a server could not be measured."""
    parser = argparse.ArgumentParser(prog="./test --bench --against", description=__doc__.partition("\n")[0])
    parser.add_argument("urls", nargs="+", metavar="URL", type=Peer.at, help="https://API_KEY@HOST:PORT")
    parser.add_argument(
        "--keys", nargs="+", type=int, default=KEYS, metavar="N", help="measured at these numbers of keys"
    )
    given = parser.parse_args(arguments)
    peers: list[Peer] = given.urls
    width = max(16, *(len(peer.url) for peer in peers))
    sys.stdout.write(f"{'':<40}{'':>6}" + "".join(f"{peer.url:>{width + 2}}" for peer in peers) + "\n")
    kept = []
    try:
        with _connected(peers):
            for what, unit, values in rows(peers, sorted(given.keys)):
                cells = "".join(f"{value:>{width + 2}.2f}" for value in values)
                sys.stdout.write(f"{what:<40}{unit:>6}{cells}\n")
                sys.stdout.flush()
                by_url = {peer.url: value for peer, value in zip(peers, values, strict=True)}
                kept.append({"what": what, "unit": unit, "values": by_url})
    except (OSError, HTTPException, RuntimeError) as error:
        sys.stderr.write(f"It ends here: {type(error).__name__}: {error}\n")
        return 1
    _WRITTEN.parent.mkdir(exist_ok=True)
    _WRITTEN.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"written to {_WRITTEN}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
