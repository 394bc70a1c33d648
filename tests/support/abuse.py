"""People who mean harm, run as their own process: each kind opens connections to the API and misuses them, for ever.

What they got is printed as a JSON line twice a second, see `Abuse.tally`.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import ssl
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import uvloop

from tests.support.process import REPOSITORY, ChildProcess
from tests.support.socks import Address

_POST = b"POST /api/keys HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
_GIGABYTE = 1_000_000_000
_BLOCK = b"x" * 65_536
_PATIENCE_S = 60.0
_BREATH_S = 0.05

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Attacker:
    """One connection at a time, from one address."""

    target: Address
    number: int
    sources: int
    credential: str
    tally: Counter[str]
    context: ssl.SSLContext

    @asynccontextmanager
    async def wire(self, *, tls: bool = True) -> AsyncIterator[Wire]:
        """A connection to the API."""
        which = self.number % self.sources
        source = f"127.0.{which // 250 + 1}.{which % 250 + 1}"
        connecting = asyncio.open_connection(
            *self.target,
            local_addr=(source, 0),
            ssl=self.context if tls else None,
            ssl_handshake_timeout=_PATIENCE_S if tls else None,
        )
        reader, writer = await asyncio.wait_for(connecting, _PATIENCE_S)
        self.tally["open"] += 1
        self.tally["opened"] += 1
        try:
            yield reader, writer
        finally:
            self.tally["open"] -= 1
            writer.transport.abort()

    async def pour(self, wire: Wire, chunk: bytes, total: int = _GIGABYTE) -> None:
        """Send the chunk again and again until so many bytes are sent or there is an answer; note the answer."""
        reader, writer = wire
        answer = asyncio.create_task(self.note_answer(reader))
        sent = 0
        try:
            while sent < total and not answer.done():
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(0)  # drain itself returns at once as long as there is room
                sent += len(chunk)
                self.tally["sent_bytes"] += len(chunk)
        finally:
            # The answer may have come before the connection broke under what was still being sent.
            await asyncio.wait([answer], timeout=5.0)
            answer.cancel()

    async def note_answer(self, reader: asyncio.StreamReader) -> bytes:
        """The answer's head, counted by its status; "none" when the connection ended without."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError):
            self.tally["none"] += 1
            return b""
        self.tally[head[9:12].decode()] += 1
        return head


async def _brute_force(me: Attacker) -> None:
    """Wrong API keys, as fast as they are refused."""
    async with me.wire() as (reader, writer):
        while True:
            guess = os.urandom(16).hex()
            writer.write(f"GET /api/keys HTTP/1.1\r\nHost: x\r\nX-API-Key: {guess}\r\n\r\n".encode())
            head = await me.note_answer(reader)
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)


async def _dribble(me: Attacker, head: bytes) -> None:
    async with me.wire() as (reader, writer):
        writer.write(head)
        answer = asyncio.create_task(me.note_answer(reader))
        while not answer.done():
            writer.write(b"a")
            await asyncio.wait([answer], timeout=0.5)


async def _slow_head(me: Attacker) -> None:
    """A header that comes one letter at a time."""
    await _dribble(me, b"GET /api/keys HTTP/1.1\r\nHost: ")


async def _slow_body(me: Attacker) -> None:
    """A body that comes one letter at a time."""
    await _dribble(me, _POST + b"Content-Length: 60000\r\n\r\n")


async def _idle(me: Attacker) -> None:
    """A connection that says nothing, kept for as long as it lasts, once."""
    async with me.wire() as (reader, _):
        await reader.read()
    me.tally["ended"] += 1
    await asyncio.Event().wait()


async def _handshakes(me: Attacker) -> None:
    """One connection after another, none of them used."""
    async with me.wire():
        pass


async def _silent(me: Attacker) -> None:
    """A connection that does not even begin TLS."""
    async with me.wire(tls=False) as (reader, _):
        await reader.read()


async def _announced(me: Attacker) -> None:
    """A gigabyte whose length is announced, sent whatever the answer is."""
    async with me.wire() as wire:
        wire[1].write(_POST + b"X-API-Key: %s\r\nContent-Length: %d\r\n\r\n" % (me.credential.encode(), _GIGABYTE))
        await me.pour(wire, _BLOCK)


async def _chunked(me: Attacker) -> None:
    """A gigabyte in chunks; without a credential, by nobody."""
    async with me.wire() as wire:
        wire[1].write(_POST + b"X-API-Key: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % me.credential.encode())
        await me.pour(wire, b"10000\r\n" + _BLOCK + b"\r\n")


async def _chunk_extension(me: Attacker) -> None:
    """A chunk whose size line never ends."""
    async with me.wire() as wire:
        wire[1].write(_POST + b"Transfer-Encoding: chunked\r\n\r\n1;")
        await me.pour(wire, _BLOCK)


async def _many_headers(me: Attacker) -> None:
    """Headers without number."""
    async with me.wire() as wire:
        wire[1].write(b"GET / HTTP/1.1\r\n")
        await me.pour(wire, b"a: b\r\n" * 1000)


async def _large_header(me: Attacker) -> None:
    """A header of a megabyte."""
    async with me.wire() as wire:
        wire[1].write(b"GET / HTTP/1.1\r\nx: " + b"y" * 1_000_000 + b"\r\n\r\n")
        await me.note_answer(wire[0])


async def _endless_header(me: Attacker) -> None:
    """A header that never ends."""
    async with me.wire() as wire:
        wire[1].write(b"GET / HTTP/1.1\r\nx: ")
        await me.pour(wire, _BLOCK)


async def _ahead(me: Attacker) -> None:
    """Thousands of requests sent before the first answer."""
    async with me.wire() as wire:
        await me.pour(wire, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)


async def _garbage(me: Attacker) -> None:
    """Random bytes inside TLS."""
    async with me.wire() as wire:
        await me.pour(wire, os.urandom(4096), 100_000)


async def _garbage_for_tls(me: Attacker) -> None:
    """Random bytes, or HTTP, where TLS is spoken."""
    async with me.wire(tls=False) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" if me.number % 2 else os.urandom(4096))
        await me.note_answer(reader)


ATTACKS: dict[str, Callable[[Attacker], Awaitable[None]]] = {
    "brute force": _brute_force,
    "slow head": _slow_head,
    "slow body": _slow_body,
    "idle": _idle,
    "handshakes": _handshakes,
    "silent": _silent,
    "announced gigabyte": _announced,
    "chunked gigabyte": _chunked,
    "endless chunk extension": _chunk_extension,
    "many headers": _many_headers,
    "large header": _large_header,
    "endless header": _endless_header,
    "requests ahead": _ahead,
    "garbage": _garbage,
    "garbage for TLS": _garbage_for_tls,
}


class Abuse:
    """An attack under way; leaving the context ends it."""

    def __init__(self, kind: str, target: Address, count: int, *, sources: int = 1, credential: str = "") -> None:
        """So many connections at a time, from so many addresses of loopback."""
        self._options = dict(kind=kind, target=target, count=count, sources=sources, credential=credential)  # noqa: C408
        self._directory = tempfile.TemporaryDirectory(prefix="vpnkeys-test-")
        self._child: ChildProcess | None = None

    @property
    def child(self) -> ChildProcess:
        """The attackers' process."""
        assert self._child is not None
        return self._child

    def tally(self) -> Counter[str]:
        """What they had half a second ago: "opened" and "open" connections, answers by status, "sent_bytes"."""
        lines = [line for line in self.child.log().splitlines(keepends=True) if line.startswith("{")]
        whole = [line for line in lines if line.endswith("\n")]
        return Counter(json.loads(whole[-1])) if whole else Counter()

    def __enter__(self) -> Self:
        """Begin."""
        self._child = ChildProcess(
            [sys.executable, "-m", "tests.support.abuse", json.dumps(self._options)],
            name="abuse",
            log_path=Path(self._directory.name) / "log",
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            cwd=REPOSITORY,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""
        self.child.stop()
        self._directory.cleanup()


async def _go_on(attack: Callable[[Attacker], Awaitable[None]], me: Attacker) -> None:
    while True:
        try:
            await attack(me)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            me.tally[type(error).__name__] += 1
            await asyncio.sleep(_BREATH_S)


async def _run(kind: str, target: Address, count: int, sources: int, credential: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    tally: Counter[str] = Counter()
    attackers = [Attacker((target[0], target[1]), n, sources, credential, tally, context) for n in range(count)]
    tasks = [asyncio.create_task(_go_on(ATTACKS[kind], me)) for me in attackers]
    while not any(task.done() for task in tasks):
        sys.stdout.write(json.dumps(tally) + "\n")
        await asyncio.sleep(0.5)
    for task in tasks:
        if task.done():
            task.result()


if __name__ == "__main__":
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    uvloop.run(_run(**json.loads(sys.argv[1])))
