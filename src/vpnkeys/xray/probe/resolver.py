"""Resolves host names within a time: the system's resolver may wait for a dead name server for half a minute."""

import queue
import socket
import threading


def addresses_of(host: str, within_s: float) -> tuple[str, ...]:
    """Return the IP addresses of a host name or of an IP address. Raises gaierror, also when the time is over."""
    answers: queue.SimpleQueue[tuple[str, ...] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            answers.put(tuple(str(address[0]) for *_, address in found))
        except OSError as error:
            answers.put(error)

    # A thread that is left behind ends with the resolver's own patience.
    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=within_s)
    except queue.Empty:
        raise socket.gaierror(socket.EAI_AGAIN, "the name server does not answer") from None
    if isinstance(answer, OSError):
        raise answer
    return answer
