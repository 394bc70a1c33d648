"""Writers that ask for their next turn as soon as they have had one, several to a process, in several processes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path

from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.store import SqlStore

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
    command = [sys.executable, "-m", "tests.support.greedy", url]
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
            transaction.remember(writer, str(began_ns), "", datetime.now(UTC).replace(tzinfo=None))
            time.sleep(HELD_S)
        turns.append(Turn(writer, asked_ns, began_ns))
    return turns


def _main(url: str, writers: int, turns_each: int) -> None:
    store = SqlStore(open_engine(url))
    store.keys()
    all_here = threading.Barrier(writers + 1)

    def work(number: int) -> list[Turn]:
        all_here.wait()
        return _take_turns(store, f"{time.monotonic_ns()}-{number}", turns_each)

    with ThreadPoolExecutor(writers) as pool:
        futures = [pool.submit(work, number) for number in range(writers)]
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()
        all_here.wait()
        turns = [turn for future in futures for turn in future.result()]
    store.close()
    json.dump([astuple(turn) for turn in turns], sys.stdout)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
