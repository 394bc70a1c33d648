"""Keeps one nftables table in the kernel: installs it as a whole, restores it, removes it.

Other tables are never changed. The next `put` of the same name replaces the table of a killed process.
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
_NOT_THERE = "No such file or directory"  # the text of nft for a missing table; it has no exit status for that

_NETLINK_NETFILTER = 12  # linux/netlink.h, as the next two
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP = 270, 1
_NFNLGRP_NFTABLES = 7  # linux/netfilter/nfnetlink.h


class NftImpossible(Exception):
    """Raised when nft fails; the message says why."""


def nft(*arguments: str, text: str = "") -> str:
    """Run `nft` with `text` as its input; return its output. Raises NftImpossible."""
    try:
        done = subprocess.run(
            ["nft", *arguments], input=text, capture_output=True, text=True, timeout=_NFT_TIMEOUT_S, check=False
        )
    except FileNotFoundError as error:
        msg = "the program nft was not found; install nftables"
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
    """Return a block of a ruleset: the head, and the lines in braces."""
    return "\n".join([f"{head} {{", *lines, "}"])


def replacing(table: str, body: list[str]) -> str:
    """Return one transaction that creates or replaces the table, in the family `inet`."""
    # Deleting a missing table fails the transaction, so it is declared first; `destroy` needs kernel 6.3.
    return "\n".join([f"table inet {table}", f"delete table inet {table}", block(f"table inet {table}", body), ""])


@dataclass(slots=True)
class KeptTable:
    """One table, from `put` to `delete`; from `watch` on it is restored when another program changes or removes it.

    `alarm` is the log's text while it cannot be restored. `role` names the worker. `listing` are options of `nft list`
    that leave out what changes by itself. Safe for any thread.
    """

    name: str
    role: str
    alarm: str
    listing: tuple[str, ...] = ()
    worker: Worker = field(init=False)
    _text: str = field(default="", init=False)  # the transaction of the last `put`; empty when there shall be no table
    _as_installed: str = field(default="", init=False)  # as nft lists it, which is not how it was written
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)
    _events: socket.socket | None = field(default=None, init=False)
    _stop: int = field(default=-1, init=False)  # an eventfd that ends the wait for events
    _is_checked: bool = field(default=True, init=False)  # False: an event came and the table was not checked since

    def __post_init__(self) -> None:
        """Do not touch the kernel before `put`."""
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
        """Install the table by this transaction. Raises NftImpossible; the kernel has changed nothing then."""
        with self._lock:
            nft("-f", "-", text=text)
            self._text = text
            self._as_installed = self._listed()

    def holds(self, text: str) -> bool:
        """Return whether the kernel still has the table exactly as this transaction installed it."""
        with self._lock:
            return text == self._text and self._is_intact()

    def delete(self) -> None:
        """Remove the table for good. Raises NftImpossible when a table that we installed may still be there."""
        with self._lock:
            try:
                nft("delete", "table", "inet", self.name)
            except NftImpossible as error:
                if self._text and _NOT_THERE not in str(error):
                    raise
            self._text = ""

    def watch(self) -> None:
        """Start to restore the table when it is changed or removed, as by `nft flush ruleset`."""
        with self._lock:
            if self._events is not None:
                return
            # The kernel multicasts every change of the ruleset to this group, so that no polling of `nft` is needed.
            self._stop = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._events = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, _NETLINK_NETFILTER
            )
            self._events.bind((0, 0))
            self._events.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)
            self.worker.start()

    def stop_watching(self) -> None:
        """Stop restoring the table; it stays as it is."""
        self.worker.stop()
        # A worker that did not end still uses the descriptors; their numbers must not be reused under it.
        if self._events is not None and not self.worker.is_alive:
            self._events.close()
            os.close(self._stop)
            self._events = None

    def _interrupt(self) -> None:
        if self._events is not None:
            os.eventfd_write(self._stop, 1)

    def _watch(self) -> None:
        """Wait for an event of our table, and restore the table when it differs."""
        assert self._events is not None  # noqa: S101 - `watch` made it before it started the worker
        if not self._is_checked or _has_change_event(self._events, self._stop, self.name):
            self._is_checked = False
            self._repair()
            self._is_checked = True

    def _repair(self) -> None:
        """Restore the table when it differs from the installed one. Raises NftImpossible."""
        with self._lock:
            if not self._text or self._is_intact() or self.worker.is_stopping:
                return
            try:
                self.put(self._text)
            except NftImpossible as error:
                msg = f"the nftables table cannot be restored: {error}"
                raise NftImpossible(msg) from error
        _log.warning("another program changed or removed the nftables table %s; it was restored", self.name)

    def _is_intact(self) -> bool:
        try:
            return self._listed() == self._as_installed
        except NftImpossible:
            return False  # the table is gone

    def _listed(self) -> str:
        return nft(*self.listing, "list", "table", "inet", self.name)


def _has_change_event(events: socket.socket, stop: int, table: str) -> bool:
    """Return whether a change of this table, or lost events, were reported within ten seconds."""
    # The table's name is searched in the raw message. Those of tables, chains and rules contain
    # it, and a false match costs only one `nft list`.
    waits = select.poll()
    waits.register(events, select.POLLIN)
    waits.register(stop, select.POLLIN)
    waits.poll(_LOOK_EVERY_S * 1000)
    try:
        return table.encode() in events.recv(65536)
    except BlockingIOError:
        return False
    except OSError as error:
        # ENOBUFS: the socket's buffer was full and events were lost (netlink(7)); one may have been ours.
        if error.errno != errno.ENOBUFS:
            raise
        return True
