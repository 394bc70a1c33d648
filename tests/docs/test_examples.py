"""What the documentation shows is typed as it stands, against a real server, and works."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support import aiogram_python
from tests.support.clients import XrayClient
from tests.support.keys import carries
from tests.support.link import VlessLink
from tests.support.manual import EN, RU, runnable
from tests.support.ports import free_port
from tests.support.process import REPOSITORY, ChildProcess, wait_until
from tests.support.service import Service
from tests.support.streams import ByteServer
from tests.support.telegram import FakeTelegram

from vpnkeys.client import Client

pytestmark = pytest.mark.e2e

EXAMPLES = REPOSITORY / "docs" / "examples"
_OPEN = {EN / "api.md": "open", RU / "api.md": "открыт"}


@pytest.fixture(scope="module")
def reader(service: Service) -> dict[str, str]:
    """The environment of somebody who reads the manual and has done what it says first."""
    certificate = service.data_dir / "tls" / "cert.pem"
    pem = certificate.read_text()
    digest = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256"], input=pem, capture_output=True, text=True, check=True
    )
    names = ("PATH", "HOME", "LANG", "PYTHONPATH")
    return {name: value for name in names if (value := service.env.get(name))} | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "VPNKEYS_URL": service.base_url,
        "VPNKEYS_API_KEY": service.api_key,
        "VPNKEYS_FINGERPRINT": digest.stdout.strip().partition("=")[2],
        "CURL_CA_BUNDLE": str(certificate),
        "no_proxy": "*",
    }


@pytest.mark.parametrize("page", ["first-key.md", "api.md", "operations.md"])
def test_commands_work(page: str, reader: dict[str, str], service: Service, tmp_path: Path) -> None:
    """The shell's blocks of a page, one after the other, end well and leave no key behind."""
    script = "\n".join(runnable(EN / page, "sh"))
    done = subprocess.run(
        ["bash", "-eux", "-c", script],
        env=reader,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "curl: (22)" not in done.stderr, done.stderr[-4000:]  # refused, on the left of a pipe
    assert service.client.get("/api/keys").json() == []


@pytest.mark.parametrize("code", runnable(EN / "api.md", "python"))
def test_python_works(code: str, reader: dict[str, str], service: Service, tmp_path: Path) -> None:
    """Each block of Python runs by itself, prints a link, and leaves no key behind."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=reader,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    VlessLink.parse(done.stdout.splitlines()[0])
    assert service.client.get("/api/keys").json() == []


def test_every_request_is_named(service: Service) -> None:
    """The page's table has each request of the API, and no other."""
    paths = service.client.get("/openapi.json").json()["paths"]
    known = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    assert sorted(request for request, _ in requests_in(EN / "api.md")) == sorted(known)


@pytest.mark.parametrize("page", [*_OPEN], ids=["en", "ru"])
def test_scopes_are_as_the_page_says(page: Path, service: Service) -> None:
    """Each request is refused to whoever has less than the scope that the page names, and to nobody who has it."""
    read, keys = token_of(service, "read"), token_of(service, "keys")
    less_and_enough = {"`read`": ("", read), "`keys`": (read, keys), "`admin`": (keys, None), _OPEN[page]: (None, "")}
    for request, needed in requests_in(page):
        less, enough = less_and_enough.get(needed, (None, None))
        assert less is None or status_of(service, request, less) == httpx.codes.UNAUTHORIZED, request
        assert enough is None or status_of(service, request, enough) != httpx.codes.UNAUTHORIZED, request


def status_of(service: Service, request: str, api_key: str) -> int:
    """The status of an answer to a request for something that is not there; an endless answer is not read."""
    method, path = request.split(" ")
    with (
        service.new_client(api_key=api_key) as somebody,
        somebody.stream(method, re.sub(r"{\w+}", "x", path), json={}) as answer,
    ):
        return answer.status_code


def requests_in(page: Path) -> list[tuple[str, str]]:
    """The requests of the table, and the scope that each needs."""
    return re.findall(r"^\| `([A-Z]+ /[^`]*)` \| (\S+) \|", page.read_text(encoding="utf-8"), re.MULTILINE)


def token_of(service: Service, scope: str) -> str:
    """A new token."""
    return str(service.client.post("/api/tokens", json={"name": scope, "scope": scope}).json()["token"])


@pytest.fixture
def telegram() -> Iterator[FakeTelegram]:
    """Somebody to talk to."""
    with FakeTelegram() as telegram:
        yield telegram


@pytest.fixture(params=["telegram_bot.py", "aiogram_bot.py"])
def bot(
    request: pytest.FixtureRequest, telegram: FakeTelegram, reader: dict[str, str], service: Service, tmp_path: Path
) -> Iterator[ChildProcess]:
    """The bot, with a token of the scope that the page names; its key is deleted in the end."""
    python, own = sys.executable, {}
    if request.param == "aiogram_bot.py":
        if not aiogram_python.is_here():
            pytest.skip("aiogram is not installed: python -m tests.support.aiogram_python")
        python, own = str(aiogram_python.PYTHON), {"PYTHONPATH": str(aiogram_python.client_alone(tmp_path))}
    more = {
        "TELEGRAM_TOKEN": telegram.token,
        "TELEGRAM_API": telegram.url,
        "VPNKEYS_API_KEY": token_of(service, "keys"),
    }
    bot = ChildProcess(
        [python, str(EXAMPLES / request.param)],
        name="bot",
        log_path=tmp_path / "log",
        env=reader | more | own,
    )
    yield bot
    bot.stop()
    with Client.over(service.new_client()) as server:
        for key in server.keys.list():
            server.keys.delete(key.id)


@pytest.mark.usefixtures("bot")
def test_the_bot_gives_a_link(
    request: pytest.FixtureRequest, telegram: FakeTelegram, service: Service, byte_server: ByteServer
) -> None:
    """/start gives a link that carries traffic, and the same one again; a group is given nothing."""
    telegram.write("/start", chat_type="group")
    telegram.write("/start")
    telegram.write("/start@some_bot")
    telegram.write("/start ref42")  # what Telegram sends for a link to the bot with a word of its own
    first, *again = telegram.replies(3)
    assert again == [first, first]
    (key,) = service.client.get("/api/keys").json()
    assert (key["name"], key["max_devices"]) == ("telegram:4711", 3)
    with XrayClient(VlessLink.parse(first)) as client:
        assert carries(client.socks, byte_server)
    has_terms = "aiogram" in request.node.name
    # The term of 30 days begins with the first sample that has bytes of the key.
    assert not has_terms or wait_until(lambda: bool(service.client.get("/api/keys").json()[0]["expires_at"]))
    telegram.write("/left" if has_terms else "/usage")
    told = telegram.replies(4)[3]
    assert told.startswith("50.00 GB left, until 2") if has_terms else told.endswith(" GB")


@pytest.mark.usefixtures("bot")
def test_the_bot_serves_all_but_those_who_have_blocked_it(telegram: FakeTelegram) -> None:
    """Whom Telegram gives nothing holds up nobody."""
    telegram.blocked_by.add(1111)
    telegram.write("/start", user=1111)
    telegram.write("/start")
    assert telegram.replies(1)[0].startswith("vless://")


@pytest.mark.usefixtures("bot")
def test_the_bot_sends_again_what_telegram_did_not_take(telegram: FakeTelegram) -> None:
    """An error of Telegram's own costs no answer."""
    telegram.failures = 2
    telegram.write("/start")
    assert telegram.replies(1)[0].startswith("vless://")


@pytest.mark.usefixtures("bot")
def test_the_bot_gives_another_key_for_one_that_was_deleted(telegram: FakeTelegram, service: Service) -> None:
    """On the same day too."""
    telegram.write("/start")
    (old,) = telegram.replies(1)
    (key,) = service.client.get("/api/keys").json()
    service.client.delete(f"/api/keys/{key['id']}").raise_for_status()
    telegram.write("/start")
    new = telegram.replies(2)[1]
    assert new.startswith("vless://")
    assert new != old


def test_the_bot_outlives_its_server(telegram: FakeTelegram, bot: ChildProcess, service: Service) -> None:
    """What was written while the server was away is answered when it is back, and the log tells no secret."""
    service.stop()
    telegram.write("/start")
    bot.wait_for(lambda: "waiting" in bot.log(), "a word of the bot's trouble", 30.0)
    service.start()
    service.wait_ready()
    assert telegram.replies(1)[0].startswith("vless://")
    assert telegram.token not in bot.log()


def test_the_receiver_knows_what_is_genuine(service: Service, tmp_path: Path) -> None:
    """The receiver of the page prints events of the server, and refuses whoever does not know the secret."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    hook = service.client.post("/api/webhooks", json={"url": url}).json()
    receiver = ChildProcess(
        [sys.executable, str(EXAMPLES / "webhook_receiver.py")],
        name="receiver",
        log_path=tmp_path / "log",
        env={"PATH": os.environ["PATH"], "PORT": str(port), "VPNKEYS_WEBHOOK_SECRET": hook["secret"]},
    )
    try:
        receiver.wait_listening("127.0.0.1", port, 20.0)
        tried = service.client.post(f"/api/webhooks/{hook['id']}/test").json()
        assert (tried["delivered"], tried["status"]) == (True, 204)
        receiver.wait_for(lambda: "ping" in receiver.log(), "the event", 20.0)
        headers = f"X-Vpnkeys-Timestamp: {int(time.time())}\nX-Vpnkeys-Signature: v1={'0' * 64}"
        command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-d", "{}", url]
        for header in headers.splitlines():
            command += ["-H", header]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "403"
    finally:
        receiver.stop()
        service.client.delete(f"/api/webhooks/{hook['id']}")


@pytest.mark.parametrize(("encoding", "statuses"), [("utf-8", [204, 204]), ("ascii", [None, None])])
def test_the_receiver_does_each_event_once(tmp_path: Path, encoding: str, statuses: list[int | None]) -> None:
    """One that comes again was done; one whose work failed, as what cannot be printed, was not, and has no 2xx."""
    port = free_port()
    receiver = ChildProcess(
        [sys.executable, str(EXAMPLES / "webhook_receiver.py")],
        name="receiver",
        log_path=tmp_path / "log",
        env={
            "PATH": os.environ["PATH"],
            "PORT": str(port),
            "PYTHONIOENCODING": encoding,
            "VPNKEYS_WEBHOOK_SECRET": "made-up",
        },
    )
    event = {"id": "e1", "event": "key.created", "data": {"name": "Мария"}}
    try:
        receiver.wait_listening("127.0.0.1", port, 20.0)
        assert [delivered(port, "made-up", json.dumps(event)) for _ in statuses] == statuses
        assert receiver.log().count("key.created {") == statuses.count(204) / 2
    finally:
        receiver.stop()


def delivered(port: int, secret: str, body: str) -> int | None:
    """The status of the receiver's answer to an event; None when it gave none."""
    now = str(int(time.time()))
    signature = hmac.new(secret.encode(), f"{now}.{body}".encode(), hashlib.sha256).hexdigest()
    headers = {"X-Vpnkeys-Timestamp": now, "X-Vpnkeys-Signature": f"v1={signature}"}
    try:
        return httpx.post(f"http://127.0.0.1:{port}/", content=body, headers=headers, trust_env=False).status_code
    except httpx.RemoteProtocolError:
        return None
