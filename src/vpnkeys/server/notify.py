"""Notifies systemd that the server is ready, alive or stopping (sd_notify(3)).

Without NOTIFY_SOCKET in the environment nothing is sent.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Event

from vpnkeys.worker import AsyncWorker, Job

_log = logging.getLogger(__name__)

_PATIENCE_S = 1.0
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Notifier:
    """Sends notifications to the socket `address`, if any. WATCHDOG=1 is due every `watchdog_s` seconds."""

    address: str = ""
    watchdog_s: float | None = None

    def tell(self, *states: str) -> None:
        """Send states, such as READY=1, in one datagram. A failure is logged, never raised: the server goes on."""
        if not self.address:
            return
        # A leading "@" stands for the null byte of an abstract socket address (unix(7)).
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_PATIENCE_S)
                sender.sendto("\n".join(states).encode(), address)
        except OSError as error:
            _log.warning("systemd could not be notified: %s", error)

    def accompany_until(self, ended: Event, is_alive: Callable[[], bool], well: str, ill: str) -> None:
        """Do as `accompany` does until `ended` is set, in the calling thread, for a program without an event loop."""
        self.tell("READY=1", f"STATUS={well}")
        every_s = None if self.watchdog_s is None else self.watchdog_s / 2
        while not ended.wait(every_s):
            if is_alive():
                self.tell("WATCHDOG=1", f"STATUS={well}")
            else:
                self.tell(f"STATUS={ill}")

    async def accompany(
        self,
        is_alive: Callable[[], bool],
        well: str,
        ill: str,
        introduce: Callable[[AsyncWorker], None] = lambda _: None,
    ) -> None:
        """Send READY=1; then, where systemd has a watchdog, WATCHDOG=1 twice in its time while `is_alive` returns True.

        Without it in time systemd kills and restarts the server. `well` or `ill` is the status text that it shows.
        `is_alive` runs in a thread; that the signal is sent from here proves that the event loop runs. `introduce`
        receives the worker that sends the signals.
        """
        self.tell("READY=1", f"STATUS={well}")
        if not self.address or self.watchdog_s is None:
            return

        async def give_sign() -> None:
            if await asyncio.to_thread(is_alive):
                self.tell("WATCHDOG=1", f"STATUS={well}")
            else:
                self.tell(f"STATUS={ill}")

        every_s = self.watchdog_s / 2  # as sd_watchdog_enabled(3) recommends
        job = Job(
            name="watchdog",
            failing="systemd got no watchdog signal",
            every_s=every_s,
            back_off_s=(every_s,),
            late_after_s=every_s,
        )
        worker = AsyncWorker(job, give_sign)
        introduce(worker)
        await worker.run()


def notifier_of(environment: Mapping[str, str]) -> Notifier:
    """Return the notifier that NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID describe."""
    watchdog_s = None
    with suppress(KeyError, ValueError):
        watchdog_s = int(environment["WATCHDOG_USEC"]) / _MICROSECONDS
    # Children inherit the variables; WATCHDOG_PID says which process systemd watches.
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        watchdog_s = None
    return Notifier(environment.get("NOTIFY_SOCKET", ""), watchdog_s or None)
