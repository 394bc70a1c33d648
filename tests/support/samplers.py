"""Samples Xray's counters from several threads of a process of its own, over and over, until it is told to end.

A process of its own, because a test that moves traffic too would let its writers wait for Python's lock, turn after
turn, while they hold that of the database: a server moves no traffic in its own process.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from vpnkeys.clock import SystemClock
from vpnkeys.service.traffic import count
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.store import SqlStore
from vpnkeys.xray.rpc.counters import XrayCounters

_ROOT = Path(__file__).parents[2]


def sample_until(
    ending: threading.Event, begun: threading.Event, database: Path, api_socket: Path, threads: int
) -> int:
    """Return how many samples such a process took; what one of its threads could not do is an error here.

    `begun` is set when each thread has taken its first sample, or the process has ended.
    """
    command = [sys.executable, "-m", "tests.support.samplers", str(database), str(api_socket), str(threads)]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        begun.set()
        ending.wait()
        out, _ = child.communicate("end\n")
    assert child.returncode == 0
    return int(out)


def _main(database: str, api_socket: str, threads: int) -> int:
    ending = threading.Event()
    begun = threading.Barrier(threads, lambda: print("begun", flush=True))  # noqa: T201 - to whoever started this

    def sample() -> int:
        taken = 1
        with (
            closing(SqlStore(open_engine(f"sqlite:///{database}"))) as store,
            closing(XrayCounters(Path(api_socket))) as counters,
        ):
            try:
                count(store, counters, SystemClock())
            finally:
                begun.wait()
            while not ending.is_set():
                count(store, counters, SystemClock())
                taken += 1
        return taken

    with ThreadPoolExecutor(threads) as pool:
        samplers = [pool.submit(sample) for _ in range(threads)]
        sys.stdin.read()
        ending.set()
        return sum(one.result() for one in samplers)


if __name__ == "__main__":
    sys.stdout.write(str(_main(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
