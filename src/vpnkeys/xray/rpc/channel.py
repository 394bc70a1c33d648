"""Makes unary gRPC calls on a Unix socket, over the HTTP/2 of the library h2.

Protocol: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. The official gRPC package would take 19 MB of
memory and 0.15 s of every start (docs/adr/0013-memory.md).
"""

import select
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

_READ_BYTES = 65536
# HTTP/2 starts with 64 KiB (RFC 9113, 6.9.2); a list of thousands of inbounds would stop for window updates.
_WINDOW_BYTES = 64 * 1024 * 1024
_PREFIX = struct.Struct("!BI")  # Compressed-Flag, Message-Length
_CONFIG = h2.config.H2Configuration(
    client_side=True,
    # The peer is our own Xray on a socket with mode 0600: checking each header is only cost.
    header_encoding="utf-8",
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
    validate_inbound_headers=False,
)

UNKNOWN, DEADLINE_EXCEEDED, NOT_FOUND, UNAVAILABLE = 2, 4, 5, 14
"""gRPC status codes (https://grpc.io/docs/guides/status-codes)."""


class CallFailed(Exception):
    """Raised when a call has no message as its answer: `code` is the gRPC status, the text the server's."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(slots=True)
class _Answer:
    """The parts of an answer that have been received."""

    body: bytearray = field(default_factory=bytearray)
    headers: dict[str, str] = field(default_factory=dict)
    is_whole: bool = False


class _Connection:
    """One HTTP/2 connection with one call at a time: no multiplexing, and no thread that reads."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout_s)
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._http = h2.connection.H2Connection(_CONFIG)
        self._http.initiate_connection()
        self._http.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW_BYTES})
        self._http.increment_flow_control_window(_WINDOW_BYTES)

    def call(self, path: str, request: bytes, deadline: float) -> bytes:
        """Return the serialised answer by `deadline` (monotonic). Raises CallFailed, OSError, ProtocolError."""
        stream = self._http.get_next_available_stream_id()
        self._http.send_headers(
            stream,
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", path),
                (":authority", "localhost"),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
            ],
        )
        answer = _Answer()
        self._write(stream, _PREFIX.pack(0, len(request)) + request, answer, deadline)
        while True:
            self._send(deadline)
            if answer.is_whole:
                return _message(answer)
            self._receive(stream, answer, deadline)

    def is_usable(self) -> bool:
        """Return whether nothing has come from the server since the last call."""
        # A server sends something on an idle connection only when it has closed it, or is about to.
        look = select.poll()  # select() fails for descriptors above 1,023
        look.register(self._socket, select.POLLIN)
        return not look.poll(0)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _write(self, stream: int, message: bytes, answer: _Answer, deadline: float) -> None:
        """Write a request, in frames as large as the server takes, as far as its windows are open (RFC 9113, 5.2).

        An answer that comes before the end of the request ends it: what is left is not sent.
        """
        left = memoryview(message)
        while not answer.is_whole:
            room = min(self._http.local_flow_control_window(stream), self._http.max_outbound_frame_size)
            if len(left) <= room:
                self._http.send_data(stream, left, end_stream=True)
                return
            if room > 0:
                self._http.send_data(stream, left[:room])
                left = left[room:]
                continue
            self._send(deadline)
            self._receive(stream, answer, deadline)

    def _send(self, deadline: float) -> None:
        data = self._http.data_to_send()
        if data:
            self._socket.settimeout(_left(deadline))
            self._socket.sendall(data)

    def _receive(self, stream: int, answer: _Answer, deadline: float) -> None:
        self._socket.settimeout(_left(deadline))
        data = self._socket.recv(_READ_BYTES)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        for event in self._http.receive_data(data):
            match event:
                case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                    answer.headers |= dict(event.headers or ())  # type: ignore[arg-type]  # decoded, by the configuration
                case h2.events.DataReceived():
                    answer.body += event.data
                    # Reopens the flow-control window by what was read (RFC 9113, 6.9).
                    self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamEnded():
                    answer.is_whole = event.stream_id == stream
                case h2.events.StreamReset() if answer.is_whole:
                    pass  # it wants no more of a request that it has answered (RFC 9113, 8.1)
                case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                    raise ConnectionResetError("the server ended the call")
                case _:
                    pass


class Channel:
    """Makes calls to one server, from any thread; idle connections are kept for the next calls."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()
        self._is_closed = False

    def call(self, method: str, request: bytes, timeout_s: float) -> bytes:
        """Return the serialised answer. Raises CallFailed, with UNAVAILABLE or DEADLINE_EXCEEDED without an answer."""
        deadline = time.monotonic() + timeout_s
        try:
            connection = self._take() or _Connection(self._path, timeout_s)
        except OSError as error:
            raise CallFailed(UNAVAILABLE, f"no connection: {error.strerror or error}") from error
        try:
            answer = connection.call(method, request, deadline)
        except CallFailed:
            self._keep(connection)
            raise
        except TimeoutError as error:
            connection.close()  # a late answer must not mix with that of the next call
            raise CallFailed(DEADLINE_EXCEEDED, "no answer in time") from error
        except (OSError, h2.exceptions.ProtocolError) as error:
            connection.close()
            raise CallFailed(UNAVAILABLE, str(error)) from error
        self._keep(connection)
        return answer

    def close(self) -> None:
        """Close all idle connections now, and those in use when their calls end."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> _Connection | None:
        """Return an idle connection that is still open; None when there is none."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.is_usable():
                return connection
            connection.close()

    def _keep(self, connection: _Connection) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(connection)
                return
        connection.close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _message(answer: _Answer) -> bytes:
    """Return the message in an answer. Raises CallFailed for any status but 0 (OK)."""
    # An answer that ends without trailers has no status: the server broke it off.
    code = int(answer.headers.get("grpc-status", str(UNAVAILABLE)))
    if code:
        raise CallFailed(code, unquote(answer.headers.get("grpc-message", "")))
    _, length = _PREFIX.unpack_from(answer.body)
    return bytes(answer.body[_PREFIX.size : _PREFIX.size + length])
