"""Whatever is sent, the answer is a clear problem and nothing was changed by it."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from tests.support.agreement import read_config
from tests.support.keys import Key, delete_key, list_keys, make_key
from tests.support.service import Service

pytestmark = pytest.mark.e2e

MEBIBYTE = 1024 * 1024
JSON_TYPE = {"Content-Type": "application/json"}
CODE = r"[a-z]+(_[a-z0-9]+)*"


@pytest.fixture(scope="module")
def key(service: Service) -> Key:
    """A key that must stay as it is."""
    return make_key(service, "the one that stays")


@pytest.fixture(autouse=True)
def _unchanged(service: Service, key: Key) -> Iterator[None]:
    """Whatever a test sends, keys and config.json are the same afterwards, and the service is well."""
    before = list_keys(service), read_config(service)
    yield
    assert (list_keys(service), read_config(service)) == before
    service.wait_healthy()
    assert "Traceback" not in service.log()


def check_problem(answer: httpx.Response, status: int, code: str | None = None) -> None:
    """An RFC 9457 problem of this status, complete, with the same status inside."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].partition(";")[0] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert {name: type(problem.get(name)) for name in ("type", "title", "status", "detail", "code")} == {
        "type": str,
        "title": str,
        "status": int,
        "detail": str,
        "code": str,
    }
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert code in {None, problem["code"]}, problem


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "blank": b"  ",
    "broken": b'{"name": "x"',
    "two values": b'{"name": "x"} {"name": "y"}',
    "single quotes": b"{'name': 'x'}",
    "not utf-8": b'{"name": "\xff\xfe"}',
    "nul byte": b'{"name": "a\x00b"}',
    "bytes": bytes(range(256)),
    "null": b"null",
    "list": b'["name"]',
    "text": b'"name"',
    "number": b"7",
    "no name": b"{}",
    "another field": b'{"nam": "x"}',
    "deep": b"[" * 30_000,
    "deep name": b'{"name": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "long number": b'{"name": ' + b"9" * 10_000 + b"}",
    "infinity": b'{"name": Infinity}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_body_that_is_no_request(service: Service, body: bytes) -> None:
    """No body, broken JSON, or JSON of another shape: 400."""
    check_problem(service.client.post("/api/keys", content=body, headers=JSON_TYPE), 400)


@pytest.mark.parametrize("name", [None, True, 1, 1.5, [], ["x"], {}, {"name": "x"}], ids=repr)
def test_a_name_of_another_type(service: Service, name: object) -> None:
    """A name that is no string is not made into one: 400."""
    check_problem(service.client.post("/api/keys", json={"name": name}), 400)


NAMES: dict[str, str] = {
    "empty": "",
    "blank": " \u00a0\u2003 ",
    "129": "x" * 129,
    "129 wide": "🦄" * 129,
    "5000": "x" * 5000,
    "newline inside": "a\nb",
    "tab inside": "a\tb",
    "escape": "\x1b[31mred",
    "delete": "a\x7f",
    "c1": "a\x85b",
    "nul": "a\x00b",
    "lone surrogate": "\ud800",
    "surrogate inside": "a\udfffb",
    "swapped pair": "\udc00\ud800",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_a_name_that_is_none(service: Service, name: str) -> None:
    """Empty, longer than 128 characters, with control characters or lone surrogates: 400."""
    body = json.dumps({"name": name}).encode("ascii")
    check_problem(service.client.post("/api/keys", content=body, headers=JSON_TYPE), 400)


@pytest.mark.parametrize("name", ["  x  ", "x" * 128, "🦄" * 128, " " + "y" * 128 + "\u3000"], ids=len)
def test_a_name_at_the_limit(service: Service, name: str) -> None:
    """1 to 128 characters after trimming are taken: the refusals above refuse no more than they should."""
    made = make_key(service, name)
    assert made["name"] == name.strip()
    delete_key(service, made)


def _chunks() -> Iterator[bytes]:
    yield b'{"name": "'
    for _ in range(MEBIBYTE // 1024):
        yield b"x" * 1024
    yield b'"}'


@pytest.mark.parametrize("content", [lambda: b"".join(_chunks()), _chunks], ids=["announced", "chunked"])
def test_a_mebibyte(service: Service, content: Callable[[], bytes | Iterator[bytes]]) -> None:
    """A body of 1 MB is refused for its size, be its length announced or not."""
    check_problem(service.client.post("/api/keys", content=content(), headers=JSON_TYPE), 400, "body_too_large")


def test_a_body_announced_and_never_sent(service: Service) -> None:
    """A body of 1 GB that is only announced is refused at once: nobody waits for it."""
    head = f"POST /api/keys HTTP/1.1\r\nHost: x\r\nX-API-Key: {service.api_key}\r\n"
    assert b" 400 " in exchange(service, f"{head}Content-Length: 1000000000\r\n\r\n".encode()).partition(b"\r\n")[0]


def test_a_form_is_not_json(service: Service) -> None:
    """A form, or JSON that calls itself text, is refused with a hint at the header."""
    for answer in (
        service.client.post("/api/keys", data={"name": "x"}),
        service.client.post("/api/keys", content=b'{"name": "x"}', headers={"Content-Type": "text/plain"}),
    ):
        check_problem(answer, 400)
        assert "application/json" in answer.json()["detail"]


IDS: dict[str, str] = {
    "path": "..%2f..%2fetc",
    "encoded path": "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "backslashes": "..%5c..%5cetc",
    "sql": quote("' OR '1'='1", safe=""),
    "more sql": quote("x'; DROP TABLE keys; --", safe=""),
    "like": "%25",
    "nul": "%00",
    "not utf-8": "%ff%fe",
    "surrogate": "%ed%a0%80",
    "newline": "a%0d%0ab",
    "blank": "%20",
    "template": quote("{{7*7}}${7*7}", safe=""),
    "10 kB": "x" * 10_000,
    "no such uuid": "11111111-2222-4333-8444-555555555555",
    "unicode": quote("ключ🦄", safe=""),
}


@pytest.mark.parametrize("key_id", IDS.values(), ids=IDS.keys())
@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("GET", "/config"), ("DELETE", "")])
def test_an_id_that_is_none(service: Service, method: str, rest: str, key_id: str) -> None:
    """Paths, SQL, odd bytes and 10 kB in the place of an id: 404, like any unknown id."""
    check_problem(service.client.request(method, f"/api/keys/{key_id}{rest}"), 404)


@pytest.mark.parametrize("change", [lambda text: text[1:], lambda text: text[:-1], lambda text: f"%20{text}"])
def test_an_id_is_exact(service: Service, key: Key, change: Callable[[str], str]) -> None:
    """An id that is cut short or has a blank is not that id."""
    check_problem(service.client.delete(f"/api/keys/{change(key['id'])}"), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/keys", "GET, HEAD, POST"),
        ("DELETE", "/api/keys", "GET, HEAD, POST"),
        ("PUT", "/api/keys/x", "DELETE, GET, HEAD, PATCH"),
        ("POST", "/health", "GET, HEAD"),
        ("POST", "/", "GET"),
    ],
)
def test_a_wrong_method(service: Service, method: str, path: str, allowed: str) -> None:
    """A method that a path does not know: 405, with all that it knows."""
    answer = service.client.request(method, path)
    check_problem(answer, 405, "method_not_allowed")
    assert set(allowed.split(", ")) <= set(answer.headers["allow"].split(", "))


@pytest.mark.parametrize("path", ["/nothing", "/api/nothing", "/api/keys/a/b/c", "/%00", "/.env", "/api/keys/../../x"])
def test_an_unknown_path(service: Service, path: str) -> None:
    """A path that is none: 404."""
    check_problem(service.client.get(path), 404)


PROTECTED = [("GET", "/api/keys"), ("POST", "/api/keys"), ("GET", "/api/keys/x"), ("DELETE", "/api/keys/x")]


def _wrong_headers(right: str) -> list[httpx.Headers]:
    """Ways not to have the right API key."""
    texts: list[dict[str, str]] = [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "wrong-key-of-some-length"},
        {"X-API-Key": right[:-1]},
        {"X-API-Key": right.swapcase()},
        {"X-API-Key": f"{right} {right}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {right}"},
        {"Authorization": right},
        {"Cookie": f"X-API-Key={right}"},
    ]
    return [*map(httpx.Headers, texts), httpx.Headers([(b"X-API-Key", b"\xff\xfe\xed\xa0\x80")])]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_without_the_right_key_nothing_is_told(service: Service, method: str, path: str) -> None:
    """No API key, a wrong one, an empty one, or the right one in a wrong place: 401, whatever is asked."""
    content = b'{"name": "x"}' if method == "POST" else None
    # Whoever guesses too often is throttled by address: here each guess has an address of its own.
    network = f"127.0.{1 + PROTECTED.index((method, path))}"
    for number, headers in enumerate(_wrong_headers(service.api_key), start=1):
        with client_from(service, f"{network}.{number}") as client:
            check_problem(client.request(method, path, headers=headers, content=content), 401, "unauthorized")
    with client_from(service, f"{network}.100") as client:
        url = f"{path}?api_key={service.api_key}&X-API-Key={service.api_key}"
        check_problem(client.request(method, url, content=content), 401, "unauthorized")


def client_from(service: Service, address: str) -> httpx.Client:
    """A client without an API key whose connections come from an address of loopback."""
    context = ssl.create_default_context(cafile=str(service.data_dir / "tls" / "cert.pem"))
    transport = httpx.HTTPTransport(verify=context, local_address=address)
    return httpx.Client(base_url=service.base_url, transport=transport)


def test_either_header_opens(service: Service) -> None:
    """The API key is taken from X-API-Key and from Authorization: Bearer."""
    with service.new_client("") as client:
        for headers in ({"X-API-Key": service.api_key}, {"Authorization": f"Bearer {service.api_key}"}):
            assert client.get("/api/keys", headers=headers).status_code == httpx.codes.OK


@pytest.mark.parametrize("path", ["/", "/api", "/api/", "/health"])
@pytest.mark.parametrize("api_key", ["", "wrong-key-of-some-length"], ids=["none", "wrong"])
def test_what_is_open(service: Service, path: str, api_key: str) -> None:
    """What the API is and how it is, anybody may ask, with any key or none."""
    with service.new_client(api_key) as client:
        answer = client.get(path)
    assert (answer.status_code, answer.json()["version"]) == (httpx.codes.OK, "2.3.4")


def exchange(service: Service, request: bytes) -> bytes:
    """The beginning of the answer to bytes that no HTTP client would send."""
    context = ssl.create_default_context(cafile=str(service.data_dir / "tls" / "cert.pem"))
    with (
        socket.create_connection(service.address, 5.0) as plain,
        context.wrap_socket(plain, server_hostname=service.address[0]) as sock,
    ):
        sock.sendall(request)
        return sock.recv(65536)


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (b"FOO /api/keys HTTP/1.1\r\nHost: x\r\n\r\n", 405, b"method_not_allowed"),
        (b"get /api/keys HTTP/1.1\r\nHost: x\r\n\r\n", 405, b"method_not_allowed"),
        (b"GET /api/keys HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 70_000 + b"\r\n\r\n", 400, b"head_too_large"),
    ],
    ids=["method", "case", "header"],
)
def test_what_the_parser_refuses_has_a_status_of_the_list(
    service: Service, head: bytes, status: int, code: bytes
) -> None:
    """Clients know the statuses of the API's page, and no others."""
    answer = exchange(service, head)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert code in answer
    assert (b"allow: " in answer.lower()) == (status == 405)


@pytest.mark.parametrize(
    "request_",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\n" * 3 + b"x\r\n\r\n",
    ],
    ids=["bytes", "version", "nul", "nothing"],
)
def test_what_is_not_http(service: Service, request_: bytes) -> None:
    """Bytes that are no request get 400 or are hung up on; the service goes on."""
    assert exchange(service, request_).partition(b"\r\n")[0] in {b"", b"HTTP/1.1 400 Bad Request"}
