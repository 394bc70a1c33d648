"""Resolves host names within a time: the system's resolver may wait for a dead name server for half a minute."""

import queue
import socket
import threading
from contextlib import suppress
from ipaddress import ip_address
from typing import TypeAlias

Address: TypeAlias = tuple[str, int]


def places_of(target: str, within_s: float) -> list[Address]:
    """Return the addresses, each with the port, to which HOST:PORT leads now. Raises gaierror."""
    host, _, port = target.rpartition(":")
    return [(address, int(port)) for address in addresses_of(host.strip("[]"), within_s)]


def addresses_of(host: str, within_s: float) -> tuple[str, ...]:
    """Return the IP addresses of a host name or of an IP address. Raises gaierror, also when the time is over."""
    with suppress(ValueError):
        return (str(ip_address(host)),)  # without a thread: only a name may take its time
    answers: queue.SimpleQueue[tuple[str, ...] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            answers.put(tuple(str(address[0]) for *_, address in found))
        except OSError as error:
            answers.put(error)

    # Twice, as one question may get lost: the resolver itself would repeat it after five seconds.
    for _ in range(2):
        # A thread that is left behind ends with the resolver's own patience.
        threading.Thread(target=ask, name="resolver", daemon=True).start()
        with suppress(queue.Empty):
            answer = answers.get(timeout=within_s / 2)
            break
    else:
        raise socket.gaierror(socket.EAI_AGAIN, "the name server does not answer")
    if isinstance(answer, OSError):
        raise answer
    return answer
