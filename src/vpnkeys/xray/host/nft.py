"""One nftables table of ours in the kernel: put there as a whole, kept there, taken away.

Other tables are never touched. What a killed process left is replaced by whoever puts a table of that name next.
"""

import errno
import logging
import os
import select
import socket
import subprocess
import threading
from dataclasses import dataclass, field

from vpnkeys.worker import Job, Worker

_log = logging.getLogger(__name__)

_NFT_TIMEOUT_S = 10.0
_LOOK_EVERY_S = 10.0
_NOT_THERE = "No such file or directory"  # how nft says that there is no such table

_NETLINK_NETFILTER = 12  # linux/netlink.h, as the next two
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP = 270, 1
_NFNLGRP_NFTABLES = 7  # linux/netfilter/nfnetlink.h


class NftImpossible(Exception):
    """nftables does not do here what it was asked for; the message says why."""


def nft(*arguments: str, text: str = "") -> str:
    """What `nft` prints. Raises NftImpossible."""
    try:
        done = subprocess.run(
            ["nft", *arguments], input=text, capture_output=True, text=True, timeout=_NFT_TIMEOUT_S, check=False
        )
    except FileNotFoundError as error:
        msg = "there is no nft; install nftables"
        raise NftImpossible(msg) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"nft could not be run: {error}"
        raise NftImpossible(msg) from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        msg = f"nft: {lines[0].rpartition('Error: ')[2]}"
        raise NftImpossible(msg)
    return done.stdout


def block(head: str, lines: list[str]) -> str:
    """A part of a ruleset in its braces."""
    return "\n".join([f"{head} {{", *lines, "}"])


def replacing(table: str, body: list[str]) -> str:
    """One transaction that puts the table, in the family `inet`, there as it should be, whatever it was before."""
    # Deleting what is not there would fail: so it is made first.
    return "\n".join([f"table inet {table}", f"delete table inet {table}", block(f"table inet {table}", body), ""])


@dataclass(slots=True)
class KeptTable:
    """One table, from `put` to `delete`; while it is watched it comes back when somebody takes it away.

    `alarm` is what is true for as long as it cannot be put back, for the log. `role` names its worker. Any thread may
    call.
    """

    name: str
    role: str
    alarm: str
    worker: Worker = field(init=False)
    _text: str = field(default="", init=False)  # empty: not wanted
    _as_installed: str = field(default="", init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)
    _events: socket.socket | None = field(default=None, init=False)
    _stop: int = field(default=-1, init=False)  # an eventfd, which ends the wait for events
    _is_settled: bool = field(default=True, init=False)  # no event is to be acted on yet

    def __post_init__(self) -> None:
        """Nothing is in the kernel yet, and nothing is watched."""
        job = Job(
            name=self.role,
            failing=self.alarm,
            every_s=0.0,
            back_off_s=(1.0,),
            late_after_s=3 * _LOOK_EVERY_S,
            expected=(NftImpossible,),
        )
        self.worker = Worker(job, self._watch, interrupt=self._interrupt)

    def put(self, text: str) -> None:
        """Run this transaction, which puts the table there. Raises NftImpossible; then the kernel changed nothing."""
        with self._lock:
            nft("-f", "-", text=text)
            self._text = text
            self._as_installed = nft("list", "table", "inet", self.name)

    def holds(self, text: str) -> bool:
        """Whether the kernel has exactly what this transaction put there."""
        with self._lock:
            return text == self._text and self._is_intact()

    def delete(self) -> None:
        """Take the table away; it is not put back. Raises NftImpossible when what we put there may still be there."""
        with self._lock:
            try:
                nft("delete", "table", "inet", self.name)
            except NftImpossible as error:
                if self._text and _NOT_THERE not in str(error):
                    raise
            self._text = ""

    def watch(self) -> None:
        """From now on put the table back when it is taken away, as `nft flush ruleset` does to all tables."""
        with self._lock:
            if self._events is not None:
                return
            self._stop = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._events = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, _NETLINK_NETFILTER
            )
            self._events.bind((0, 0))
            self._events.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)
            self.worker.start()

    def stop_watching(self) -> None:
        """No longer put the table back."""
        self.worker.stop()
        if self._events is not None and not self.worker.is_alive:
            self._events.close()
            os.close(self._stop)
            self._events = None

    def _interrupt(self) -> None:
        if self._events is not None:
            os.eventfd_write(self._stop, 1)

    def _watch(self) -> None:
        """Wait for an event, and put the table back where it is one of ours that is not as it was."""
        assert self._events is not None  # noqa: S101 - `watch` made it before it started the worker
        if not self._is_settled or _tells_of(self._events, self._stop, self.name):
            self._is_settled = False
            self._repair()
            self._is_settled = True

    def _repair(self) -> None:
        """Raises NftImpossible when the table cannot be put back."""
        with self._lock:
            if not self._text or self._is_intact() or self.worker.is_stopping:
                return
            try:
                self.put(self._text)
            except NftImpossible as error:
                msg = f"the nftables table cannot be put back: {error}"
                raise NftImpossible(msg) from error
        _log.warning("somebody changed or removed the nftables table %s; it is back", self.name)

    def _is_intact(self) -> bool:
        try:
            return nft("list", "table", "inet", self.name) == self._as_installed
        except NftImpossible:
            return False  # the table is gone


def _tells_of(events: socket.socket, stop: int, table: str) -> bool:
    """Whether the kernel tells, before long, of a change to this table, or of more than it could tell."""
    waits = select.poll()
    waits.register(events, select.POLLIN)
    waits.register(stop, select.POLLIN)
    waits.poll(_LOOK_EVERY_S * 1000)
    try:
        return table.encode() in events.recv(65536)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno != errno.ENOBUFS:
            raise
        return True
