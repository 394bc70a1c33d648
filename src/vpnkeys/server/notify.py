"""What the service manager is told: when the server serves, that it still does, and that it ends (sd_notify(3)).

Without NOTIFY_SOCKET, which only a manager that listens sets, nothing is told.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from vpnkeys.worker import AsyncWorker, Job

_log = logging.getLogger(__name__)

_PATIENCE_S = 1.0
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Notifier:
    """Tells whoever listens at `address`, nobody when it is empty. `watchdog_s` is how often a sign of life is due."""

    address: str = ""
    watchdog_s: float | None = None

    def tell(self, *states: str) -> None:
        """Send states, such as READY=1, in one message. Never fails: serving matters more than being known to."""
        if not self.address:
            return
        # A first "@" stands for the null byte of Linux's abstract addresses.
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_PATIENCE_S)
                sender.sendto("\n".join(states).encode(), address)
        except OSError as error:
            _log.warning("the service manager cannot be told: %s", error)

    async def accompany(
        self,
        is_alive: Callable[[], bool],
        well: str,
        ill: str,
        introduce: Callable[[AsyncWorker], None] = lambda _: None,
    ) -> None:
        """Tell that the server serves; then give signs of life while this event loop turns and `is_alive` says so.

        `is_alive` is asked in a thread. Without a sign in time the manager restarts the server. `well` or `ill` is what
        the manager shows meanwhile. `introduce` gets the worker that does so.
        """
        self.tell("READY=1", f"STATUS={well}")
        if not self.address or self.watchdog_s is None:
            return

        async def give_sign() -> None:
            if await asyncio.to_thread(is_alive):
                self.tell("WATCHDOG=1", f"STATUS={well}")
            else:
                self.tell(f"STATUS={ill}")

        every_s = self.watchdog_s / 2
        job = Job(
            name="watchdog",
            failing="the service manager got no sign of life",
            every_s=every_s,
            back_off_s=(every_s,),
            late_after_s=every_s,
        )
        worker = AsyncWorker(job, give_sign)
        introduce(worker)
        await worker.run()


def notifier_of(environment: Mapping[str, str]) -> Notifier:
    """The service manager's, as it says in the environment. WATCHDOG_PID names the process that is meant."""
    watchdog_s = None
    with suppress(KeyError, ValueError):
        watchdog_s = int(environment["WATCHDOG_USEC"]) / _MICROSECONDS
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        watchdog_s = None
    return Notifier(environment.get("NOTIFY_SOCKET", ""), watchdog_s or None)
