"""Writers that ask for their next turn as soon as they have had one, several to a process, in several processes.

`python -m tests.support.greedy WRITERS BUSY_LOOPS` says how long they wait; 0 writers: what a place in the queue costs.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path

from vpnkeys.domain.change import KeptAnswer
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.migrate import migrate
from vpnkeys.store.sql.store import SqlStore
from vpnkeys.store.sql.writers import Writers

PROCESSES = 3
HELD_S = 0.003  # as long as a creation holds its transaction
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Turn:
    """One write transaction; the times are the machine's, the same in all processes."""

    writer: str
    asked_ns: int
    began_ns: int

    @property
    def waited_s(self) -> float:
        """From asking to having the lock."""
        return (self.began_ns - self.asked_ns) / 1e9


def turns_of(writers: int, url: str, turns_each: int) -> list[Turn]:
    """Let so many writers take so many turns each, all at once; what any of them could not write is an error here."""
    shares = [len(range(number, writers, PROCESSES)) for number in range(PROCESSES)]
    command = [sys.executable, "-c", "from tests.support.greedy import work; work()", url]
    children = [
        subprocess.Popen(
            [*command, str(share), str(turns_each)], cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for share in shares
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.close()
        child.stdin = None
    with ThreadPoolExecutor(PROCESSES) as pool:
        told = [out for out, _ in pool.map(subprocess.Popen.communicate, children)]
    assert [child.returncode for child in children] == [0] * PROCESSES
    return [Turn(*fields) for out in told for fields in json.loads(out)]


def most_overtaken(turns: list[Turn]) -> int:
    """How many turns one writer had, at the most, that it asked for and had while another one was waiting."""
    most = 0
    for one in turns:
        by: dict[str, int] = {}
        for other in turns:
            if one.asked_ns < other.asked_ns and other.began_ns < one.began_ns:
                by[other.writer] = by.get(other.writer, 0) + 1
        most = max(most, *by.values(), 0)
    return most


def _take_turns(store: SqlStore, writer: str, count: int) -> list[Turn]:
    turns = []
    for _ in range(count):
        asked_ns = time.monotonic_ns()
        with store.write() as transaction:
            began_ns = time.monotonic_ns()
            transaction.remember(KeptAnswer(writer, str(began_ns), "", datetime.now(UTC).replace(tzinfo=None)))
            time.sleep(HELD_S)
        turns.append(Turn(writer, asked_ns, began_ns))
    return turns


def work() -> None:
    """Do what one of the processes does, as its command line says, and print the turns."""
    url, writers, turns_each = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    store = SqlStore(open_engine(url))
    store.keys()
    all_here = threading.Barrier(writers + 1)

    def write(number: int) -> list[Turn]:
        all_here.wait()
        return _take_turns(store, f"{os.getpid()}-{number}", turns_each)

    with ThreadPoolExecutor(writers) as pool:
        futures = [pool.submit(write, number) for number in range(writers)]
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()
        all_here.wait()
        turns = [turn for future in futures for turn in future.result()]
    store.close()
    json.dump([astuple(turn) for turn in turns], sys.stdout)


def _tell(writers: int, busy_loops: int) -> str:
    with tempfile.TemporaryDirectory() as directory:
        if writers == 0:
            return f"{_cost_us(Writers(directory)):.1f} us of CPU for a place that nobody is ahead of"
        url = f"sqlite:///{directory}/vpnkeys.db"
        engine = open_engine(url)
        migrate(engine)
        engine.dispose()
        loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy_loops)]
        try:
            turns = turns_of(writers, url, 25)
        finally:
            for loop in loops:
                loop.kill()
                loop.wait()
    waits = [turn.waited_s for turn in turns]
    return (
        f"{writers} writers, {busy_loops} busy loops: waited {statistics.median(waits):.3f} s, {max(waits):.3f} s at "
        f"the longest; {most_overtaken(turns)} turns of one writer while another waited for one"
    )


def _cost_us(queue: Writers) -> float:
    best = float("inf")
    for _ in range(20):
        began = time.process_time()
        for _ in range(1000):
            with queue.turn():
                pass
        best = min(best, time.process_time() - began)
    return best * 1e3


if __name__ == "__main__":
    sys.stdout.write(_tell(int(sys.argv[1]), int(sys.argv[2])) + "\n")
