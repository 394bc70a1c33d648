"""Many agents in one process: the protocol over real HTTPS, with an Xray that is a few numbers.

`python -m tests.support.many_agents FILE`: FILE has the server's port and the agents' tokens as JSON. Twice a second,
what they have come to is written beside it. It runs until its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from typing import Any

import orjson
import uvloop

_chance = SystemRandom()
_WAIT_S = 50.0
_BACK_OFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_EVERY_S = 10.0
_LEAVES = (OSError, EOFError, ConnectionError, asyncio.IncompleteReadError, ValueError)


class Refused(OSError):
    """Says that an answer was none of those that an agent goes on with."""


@dataclass(slots=True)
class Totals:
    """What all agents of this process have come to; `failures` by kind."""

    reports: int = 0
    desired: int = 0
    handshakes: int = 0
    failures: dict[str, int] = field(default_factory=dict)

    def fail(self, error: BaseException) -> None:
        """One more."""
        name = f"{type(error).__name__}: {error}"[:120]
        self.failures[name] = self.failures.get(name, 0) + 1


class Way:
    """One kept connection to the server; it is made anew when the server has closed it, or it lay idle for too long."""

    def __init__(self, port: int, source: str, context: ssl.SSLContext, totals: Totals, keeps_s: float) -> None:
        """Nothing is connected yet."""
        self._port, self._source, self._context, self._totals = port, source, context, totals
        self._keeps_s, self._used_at = keeps_s, 0.0
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer. Raises OSError and the like."""
        is_kept = self._reader is not None and not self._reader.at_eof() and self._writer is not None
        if not is_kept or time.monotonic() - self._used_at > self._keeps_s:
            await self._connect()
        try:
            return await self._exchange(request)
        except BaseException:
            self.close()
            raise

    async def _connect(self) -> None:
        self.close()
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._context, local_addr=(self._source, 0)
        )
        self._totals.handshakes += 1

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        assert self._reader is not None
        assert self._writer is not None
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status, length = int(head[9:12]), 0
        if (at := head.find(b"content-length:")) >= 0:
            length = int(head[at + 15 : head.index(b"\r\n", at)])
        body = await self._reader.readexactly(length) if length else b""
        self._used_at = time.monotonic()
        if b"connection: close" in head:
            self.close()
        return status, body

    async def end(self) -> None:
        """Close the connection, and wait until it is."""
        writer = self._writer
        self.close()
        if writer is not None:
            with suppress(OSError):
                await writer.wait_closed()

    def close(self) -> None:
        """Forget the connection."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


@dataclass(slots=True)
class ManyAgent:
    """An agent, whose customers are always at work."""

    token: str
    waiting: Way
    telling: Way
    totals: Totals
    rev: str = ""
    ticket: str = "none"
    accounts: tuple[str, ...] = ()
    acknowledged_at: float = 0.0
    bytes_each: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    epoch: str = field(default_factory=lambda: f"{_chance.getrandbits(64):x}")

    async def follow(self) -> None:
        """Ask what it should have, for ever."""
        failures = 0
        while True:
            try:
                await self._follow_once()
                failures = 0
            except _LEAVES as error:
                self.totals.fail(error)
                await _pause(failures)
                failures += 1

    async def _follow_once(self) -> None:
        path = f"/agent/desired?rev={self.rev}&ticket={self.ticket}&wait_s={_WAIT_S}"
        status, body = await self.waiting.ask(f"GET {path} HTTP/1.1\r\n{self._head()}\r\n".encode())
        if status not in {200, 204}:
            raise Refused(f"desired: {status}")
        self.totals.desired += 1
        if status == 200:
            desired = orjson.loads(body)
            if desired["rev"] != self.rev:
                self.accounts = tuple(key["account"] for key in desired["keys"])
            self.rev, self.ticket = desired["rev"], desired.get("ticket", "none")
            self.news.set()

    async def report(self) -> None:
        """Report every ten seconds, and what is new at once."""
        failures = 0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_chance.uniform(_EVERY_S * 0.7, _EVERY_S)):
                    await self.news.wait()
            self.news.clear()
            try:
                await self._report_once()
                failures = 0
            except _LEAVES as error:
                self.totals.fail(error)
                await _pause(failures)
                failures += 1

    async def _report_once(self) -> None:
        self.bytes_each += 1000
        now = f"{datetime.now(UTC).replace(tzinfo=None).isoformat()}"
        usage = dict.fromkeys(self.accounts, (self.bytes_each, 2 * self.bytes_each))
        said: dict[str, Any] = {
            "rev": self.rev,
            "ticket": self.ticket,
            "now": now,
            "names": ["one.example.com"],
            "version": "bench",
            "lives": [{"epoch": self.epoch, "sampled_at": now, "usage": usage}],
            "online": dict.fromkeys(self.accounts[:20], 1),
        }
        rev, body = self.rev, orjson.dumps(said)
        head = f"POST /agent/report HTTP/1.1\r\n{self._head()}Content-Length: {len(body)}\r\n\r\n"
        status, answer = await self.telling.ask(head.encode() + body)
        if status != 200:
            raise Refused(f"report: {status}")
        self.totals.reports += 1
        self.acknowledged_at = time.monotonic()
        received = orjson.loads(answer)
        if received["rev"] == rev == self.rev and received.get("ticket", self.ticket) != self.ticket:
            self.ticket = received["ticket"]
            self.news.set()

    def _head(self) -> str:
        return f"Host: x\r\nX-API-Key: {self.token}\r\nContent-Type: application/json\r\n"


async def _pause(failures: int) -> None:
    most = _BACK_OFF_S[min(failures, len(_BACK_OFF_S) - 1)]
    await asyncio.sleep(_chance.uniform(most / 3, most))


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the service is a test's own child on loopback
    return context


async def _run(path: Path, told: dict[str, Any]) -> None:
    totals, context = Totals(), _context()
    agents = []
    for number, token in enumerate(told["tokens"], told["first"]):
        source = f"127.1.{number // 250}.{number % 250 + 1}"
        waiting, telling = (Way(told["port"], source, context, totals, told["keeps_s"]) for _ in range(2))
        agents.append(ManyAgent(token, waiting, telling, totals))
    running = []
    for agent in agents:
        running += [asyncio.create_task(agent.follow()), asyncio.create_task(agent.report())]
        await asyncio.sleep(told["start_within_s"] / len(agents))
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    while not ended.done():
        said = {
            "reports": totals.reports,
            "desired": totals.desired,
            "handshakes": totals.handshakes,
            "failures": totals.failures,
            "oldest": min(agent.acknowledged_at for agent in agents),
            "keys": sum(len(agent.accounts) for agent in agents),
        }
        staged = path.with_suffix(".new")
        staged.write_text(json.dumps(said), encoding="utf-8")
        staged.rename(path.with_suffix(".out"))
        await asyncio.sleep(0.5)
    for task in running:
        task.cancel()


if __name__ == "__main__":
    FILE = Path(sys.argv[1])
    uvloop.run(_run(FILE, json.loads(FILE.read_text(encoding="utf-8"))))
