"""How quick `/health` and creates are beside many streams of events: `python -m tests.bench.streams`.

Run it twice, once with `PYTHONPATH` at the `src` of another commit, to compare. Each stream has a token of its own up
to `--each` streams, so that no bound for one token is met.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

from tests.bench.conftest import NAMES, make_many
from tests.support.keys import delete_key, make_key
from tests.support.service import Service
from tests.support.target import RealityTarget

_SAMPLES, _CREATES = 30, 8
_PAUSE_S = 0.1


async def _read(port: int, token: str, context: ssl.SSLContext, counts: dict[str, int]) -> None:
    """Read one stream until it ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(f"GET /api/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {token}\r\n\r\n".encode())
    begun = False
    while data := await reader.read(1 << 18):
        counts["begun"] += not begun
        begun = True
        counts["bytes"] += len(data)
        counts["events"] += data.count(b"event: ")
    counts["ended"] += 1


async def _read_all(port: int, tokens: list[str]) -> None:
    """Read all streams, and write a line when each has begun, or a minute has passed."""
    counts = {"begun": 0, "bytes": 0, "events": 0, "ended": 0}
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the service is our own child on loopback
    reading = [asyncio.create_task(_read(port, token, context, counts)) for token in tokens]
    deadline = time.monotonic() + 60
    while counts["begun"] < len(tokens) and time.monotonic() < deadline:  # noqa: ASYNC110 - counted by many tasks
        await asyncio.sleep(0.1)
    sys.stdout.write(f"{counts['begun']} streams have begun\n")
    sys.stdout.flush()
    # The parent ends this process by closing its standard input.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    sys.stdout.write(json.dumps(counts))
    for task in reading:
        task.cancel()


def _timed(act: Callable[[], object], count: int) -> list[float]:
    """Return how long each call took, in milliseconds, shortest first; there is a pause before each."""
    taken = []
    for _ in range(count):
        time.sleep(_PAUSE_S)
        began = time.perf_counter()
        act()
        taken.append((time.perf_counter() - began) * 1e3)
    return sorted(taken)


def _spread(taken: list[float]) -> str:
    return f"p50 {median(taken):.1f} ms, p90 {taken[len(taken) * 9 // 10]:.0f}, most {taken[-1]:.0f}"


def _figures(service: Service) -> dict[str, list[float]]:
    made = []
    return {
        "GET /health": _timed(lambda: service.client.get("/health").raise_for_status(), _SAMPLES),
        "POST /api/keys": _timed(lambda: made.append(make_key(service)), _CREATES),
        "DELETE /api/keys/{id}": _timed(lambda: delete_key(service, made.pop()), _CREATES),
    }


def main() -> None:
    """Print both tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--streams", type=int, default=200)
    options.add_argument("--keys", type=int, default=900)
    options.add_argument("--each", type=int, default=10, help="streams of one token")
    given = options.parse_args()
    with RealityTarget(NAMES) as target, Service(target, port_count=given.keys + 20) as service:
        service.wait_ready()
        make_many(service, given.keys)
        tokens = [
            service.client.post("/api/tokens", json={"name": "s", "scope": "read"}).json()["token"]
            for _ in range(-(-given.streams // given.each))
        ]
        alone = _figures(service)
        streams = [tokens[number // given.each] for number in range(given.streams)]
        command = [sys.executable, "-c", _CHILD, str(service.address[1]), *streams]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as readers:
            sys.stdout.write(readers.stdout.readline().decode() if readers.stdout else "")
            beside = _figures(service)
            told = readers.communicate(timeout=60)[0]
    for name, taken in alone.items():
        sys.stdout.write(f"{name}: alone {_spread(taken)}; beside the streams {_spread(beside[name])}\n")
    sys.stdout.write(f"read meanwhile: {told.decode()}\n")


_CHILD = """
import asyncio, sys
from tests.bench import streams
asyncio.run(streams._read_all(int(sys.argv[1]), sys.argv[2:]))
"""

if __name__ == "__main__":
    main()
