"""Unary gRPC calls: what the server says arrives as it was said, and whatever fails, fails in time and by name."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest
from tests.support.slowness import slowness

from vpnkeys.xray.rpc.channel import DEADLINE_EXCEEDED, NOT_FOUND, UNAVAILABLE, CallFailed, Channel

Respond = Callable[[h2.connection.H2Connection, int, bytes], None]


class Server:
    """A gRPC server that answers each call as it is told; `calls` are the requests that came, by connection.

    With `is_hasty` it answers at the first bytes of a request, reads no more of it, and says so; with `is_deaf` its
    window stays as it was.
    """

    def __init__(self, path: Path, respond: Respond) -> None:
        """Listen; nothing is answered before `accept`."""
        self.is_hasty = self.is_deaf = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._respond = respond
        self._open: list[socket.socket] = []
        self.calls: list[list[bytes]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                self.calls.append([])
                threading.Thread(target=self._serve, args=(connection, self.calls[-1]), daemon=True).start()

    def _serve(self, connection: socket.socket, calls: list[bytes]) -> None:
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        http.initiate_connection()
        body, answered = b"", set[int]()
        with suppress(OSError):
            connection.sendall(http.data_to_send())
            while data := connection.recv(65536):
                for event in http.receive_data(data):
                    if isinstance(event, h2.events.DataReceived) and not self.is_deaf:
                        http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    if isinstance(event, h2.events.DataReceived) and self.is_hasty:
                        if event.stream_id not in answered:  # more of it may have come by the same read
                            self._respond(http, event.stream_id, b"")
                            http.reset_stream(event.stream_id, 0)  # h2 drops what still comes for it
                            answered.add(event.stream_id)
                    elif isinstance(event, h2.events.DataReceived):
                        body += event.data or b""
                    elif isinstance(event, h2.events.StreamEnded) and event.stream_id:
                        calls.append(body)
                        self._respond(http, event.stream_id, body)
                        body = b""
                connection.sendall(http.data_to_send())

    def drop(self) -> None:
        """End every connection, as a server does that is restarted."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def close(self) -> None:
        """End."""
        self._listener.close()
        self.drop()


def framed(message: bytes) -> bytes:
    """A message as gRPC sends it."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def echo(http: h2.connection.H2Connection, stream: int, body: bytes) -> None:
    """The request as the answer."""
    http.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
    http.send_data(stream, body)
    http.send_headers(stream, [("grpc-status", "0")], end_stream=True)


def big(http: h2.connection.H2Connection, stream: int, _body: bytes) -> None:
    """A message of half a megabyte, in frames as large as may be."""
    http.send_headers(stream, [(":status", "200")])
    whole = framed(b"x" * 500_000)
    for begin in range(0, len(whole), 16_384):
        http.send_data(stream, whole[begin : begin + 16_384])
    http.send_headers(stream, [("grpc-status", "0")], end_stream=True)


def measure(http: h2.connection.H2Connection, stream: int, body: bytes) -> None:
    """The request's length and its last bytes."""
    http.send_headers(stream, [(":status", "200")])
    http.send_data(stream, framed(b"%d " % len(body) + body[-5:]))
    http.send_headers(stream, [("grpc-status", "0")], end_stream=True)


def refuse(http: h2.connection.H2Connection, stream: int, _body: bytes) -> None:
    """An error, as gRPC's "trailers only"."""
    told = [(":status", "200"), ("grpc-status", "5"), ("grpc-message", "no such thing: 100%25")]
    http.send_headers(stream, told, end_stream=True)


def hang(_http: h2.connection.H2Connection, _stream: int, _body: bytes) -> None:
    """Never an answer."""


@pytest.fixture
def open_server(tmp_path: Path) -> Iterator[Callable[[Respond], tuple[Server, Channel]]]:
    """Opens a server and a channel to it."""
    opened: list[tuple[Server, Channel]] = []

    def open_one(respond: Respond) -> tuple[Server, Channel]:
        path = tmp_path / f"{len(opened)}.sock"
        opened.append((Server(path, respond), Channel(path)))
        return opened[-1]

    yield open_one
    for server, channel in opened:
        channel.close()
        server.close()


Open = Callable[[Respond], tuple[Server, Channel]]


def test_an_answer_arrives_whole(open_server: Open) -> None:
    """Empty, small, and larger than HTTP/2's default window."""
    _, channel = open_server(echo)
    for message in (b"", b"hello", bytes(range(256))):
        assert channel.call("/service/Method", message, 5) == message
    _, channel = open_server(big)
    for _ in range(3):
        assert len(channel.call("/service/Method", b"", 5)) == 500_000


def test_a_request_arrives_whole(open_server: Open) -> None:
    """At the bounds of a frame and of the windows, and far beyond them; the connection serves the next call too."""
    server, channel = open_server(measure)
    for length in (0, 16_378, 16_379, 16_380, 65_529, 65_530, 65_531, 131_000, 3_000_000):
        whole = framed(b"x" * max(0, length - 3) + b"end"[:length])
        assert channel.call("/service/Method", whole[5:], 5) == b"%d " % len(whole) + whole[-5:]
    assert [len(calls) for calls in server.calls] == [9]


def test_an_answer_may_come_before_the_end_of_the_request(open_server: Open) -> None:
    """The rest is not sent, and what the server said is told; so it is each time."""
    server, channel = open_server(refuse)
    server.is_hasty = True
    for _ in range(3):
        with pytest.raises(CallFailed, match="no such thing") as failed:
            channel.call("/service/Method", b"x" * 1_000_000, 5)
        assert failed.value.code == NOT_FOUND


def test_a_server_that_takes_no_more_is_not_waited_for_forever(open_server: Open) -> None:
    """Its window stays shut: the call ends at its deadline."""
    server, channel = open_server(hang)
    server.is_deaf = True
    with pytest.raises(CallFailed) as failed:
        channel.call("/service/Method", b"x" * 1_000_000, 0.3)
    assert failed.value.code == DEADLINE_EXCEEDED


def test_calls_share_a_connection_one_after_the_other(open_server: Open) -> None:
    """And have one each when they come at once."""
    server, channel = open_server(echo)
    for number in range(5):
        channel.call("/service/Method", b"%d" % number, 5)
    assert [len(calls) for calls in server.calls] == [5]
    gate = threading.Barrier(4)

    def call() -> None:
        gate.wait()
        for _ in range(20):
            assert channel.call("/service/Method", b"x", 5) == b"x"

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.calls) <= 4
    assert sum(len(calls) for calls in server.calls) == 85


def test_an_error_is_told_by_code_and_text(open_server: Open) -> None:
    """As the server gave them; the connection goes on."""
    server, channel = open_server(refuse)
    for _ in range(2):
        with pytest.raises(CallFailed, match=r"no such thing: 100%$") as failed:
            channel.call("/service/Method", b"", 5)
        assert failed.value.code == NOT_FOUND
    assert len(server.calls) == 1


def test_a_server_that_hangs_is_waited_for_so_long_and_no_longer(open_server: Open) -> None:
    """The connection is not used again: its answer may still come."""
    server, channel = open_server(hang)
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(CallFailed) as failed:
            channel.call("/service/Method", b"", 0.2)
        assert failed.value.code == DEADLINE_EXCEEDED
        assert 0.1 < time.monotonic() - began < 2 * slowness()
    assert len(server.calls) == 2


def test_a_server_that_was_restarted_is_found_at_once(open_server: Open) -> None:
    """The connection that it closed is not tried first."""
    server, channel = open_server(echo)
    channel.call("/service/Method", b"x", 5)
    server.drop()
    time.sleep(0.05)
    assert channel.call("/service/Method", b"x", 5) == b"x"


def test_no_server_is_told_as_such(tmp_path: Path) -> None:
    """No socket, or one on which nobody listens."""
    (tmp_path / "file").touch()
    for name in ("nothing", "file"):
        with pytest.raises(CallFailed) as failed:
            Channel(tmp_path / name).call("/service/Method", b"", 1)
        assert failed.value.code == UNAVAILABLE


def test_garbage_is_no_answer(tmp_path: Path) -> None:
    """Something else that listens there is unavailable as well."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()

    def talk() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)

    threading.Thread(target=talk, daemon=True).start()
    with pytest.raises(CallFailed) as failed:
        Channel(tmp_path / "s").call("/service/Method", b"", 2)
    assert failed.value.code == UNAVAILABLE
    listener.close()
