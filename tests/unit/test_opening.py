"""The first bytes of a connection say whether it speaks HTTP without TLS."""

import pytest

from vpnkeys.server.opening import is_plain_http


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (b"GET / HTTP/1.1\r\n", True),
        (b"OPTIONS /x HTTP/1.1\r\n", True),
        (b"G", True),
        (b"GET", True),
        (b"GET ", True),
        (b"", False),
        (b"\x16\x03\x01\x02\x00", False),
        (b"Q\x00\xffthe rest of what is random", False),
        (b"SSH-2.0-OpenSSH_9.2\r\n", False),
        (b"POST http://example.com/ HTTP/1.0\r\n", True),
        (b"HELO\r\n", False),
    ],
)
def test_the_beginning_of_a_request(seen: bytes, *, expected: bool) -> None:
    """Whatever else comes goes to TLS, which refuses it at once: nothing waits for the rest of a head."""
    assert is_plain_http(seen) is expected
