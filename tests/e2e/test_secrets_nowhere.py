"""No secret of a server, and no visitor's address, is in its logs, its errors, its open pages or its command lines."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from tests.support.clients import Client, SingBoxClient, XrayClient
from tests.support.command_lines import CommandLines
from tests.support.keys import Key, link_of, make_key
from tests.support.process import wait_until
from tests.support.service import Service
from tests.support.streams import ByteServer, transfer
from tests.support.target import RealityTarget

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite]

VISITOR, CUSTOMER, GUESSER = "127.0.0.77", "127.0.0.78", "127.0.0.79"
NAME, NOTE = "Ignatius Reilly", "owes us a hot dog"
PASSPHRASE = "correct horse battery staple"
GUESS = "a-guess-that-is-no-key-0123456789"

# What lets somebody in, or tells how: columns whatever table they are in. `id` of keys and tokens is none of these.
SECRET_COLUMNS = {"uuid", "key_uuid", "short_id", "digest", "token_hash", "secret", "key_hash", "body_hash", "answer"}


@dataclass(slots=True)
class Told:
    """All that a server let out, by where, and what must be in none of it."""

    texts: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    for_logs: dict[str, str] = field(default_factory=dict)
    """What authenticated answers may hold, and logs may not."""

    def note(self, answer: httpx.Response) -> httpx.Response:
        """Keep what is said of an error."""
        if answer.status_code >= 400:
            self.errors.append(f"{answer.status_code} {answer.headers} {answer.text}")
        return answer


def visitor(service: Service, address: str = VISITOR, **more: Any) -> httpx.Client:  # noqa: ANN401 - httpx's own
    """A client of the API that comes from an address of its own."""
    transport = httpx.HTTPTransport(verify=False, local_address=address)
    headers = {"X-API-Key": service.api_key} | more.pop("headers", {})
    return httpx.Client(base_url=service.base_url, transport=transport, headers=headers, timeout=30, **more)


def live(service: Service, told: Told, byte_server: ByteServer) -> None:
    """Keys, traffic, tokens, subscriptions, changes, all as it should be."""
    with visitor(service) as client:
        key = client.post("/api/keys", json={"name": NAME, "note": NOTE}).raise_for_status().json()
        gone = client.post("/api/keys", json={"name": f"{NAME} II"}).raise_for_status().json()
        kinds: tuple[type[Client], ...] = (XrayClient, SingBoxClient)
        for kind in kinds:
            with (
                kind(link_of(service, key), source=CUSTOMER) as customer,
                CommandLines([customer.pid]) as lines,
                byte_server.open(customer.socks) as sock,
            ):
                transfer(sock, 50_000, 50_000)
            told.texts[f"command lines of {kind.__name__}"] = "\n".join(lines.seen)
        for path in ("", "/config", "/traffic", "/online", "/history"):
            told.note(client.get(f"/api/keys/{key['uuid']}{path}"))
        client.patch(f"/api/keys/{gone['uuid']}", json={"name": NAME, "speed_limit_mbps": 5, "max_devices": 1})
        client.delete(f"/api/keys/{gone['uuid']}").raise_for_status()
        headers = {"Idempotency-Key": "order 4711"}
        link = client.get(f"/api/keys/{key['id']}/config").json()["vless_url"]
        repeated = client.post("/api/keys", json={"name": NAME}, headers=headers).raise_for_status().json()
        token = client.post("/api/tokens", json={"name": "a bot", "scope": "keys"}).raise_for_status().json()["token"]
        sub = client.post(f"/api/keys/{key['id']}/subscription").raise_for_status().json()["url"].rpartition("/")[2]
        told.secrets |= {"link": link, "link's end": quote(NAME), "token": token, "subscription": sub}
        told.for_logs |= {f"uuid of {one['id']}": one["uuid"] for one in (key, gone, repeated)}
        told.for_logs |= {f"short id of {one['id']}": one["short_id"] for one in (key, gone, repeated)}
        with visitor(service, headers={"X-API-Key": token}) as bot:
            bot.get("/api/keys").raise_for_status()
            bot.get(f"/sub/{sub}").raise_for_status()
            told.note(bot.get("/api/tokens"))
    assert service.program("traffic", "collect").returncode == 0
    for command in ("keys list", "status", f"keys show {key['id']}"):
        assert service.cli(*command.split()).returncode == 0


def err(service: Service, told: Told, key: Key) -> None:
    """Errors of all kinds, with a secret wherever a caller can put one."""
    token, sub = told.secrets["token"], told.secrets["subscription"]
    uuid, link = key["uuid"], told.secrets["link"]
    with visitor(service) as client:
        for method, path in (
            ("GET", f"/api/keys/{uuid}x"),
            ("GET", f"/nowhere/{uuid}?key={service.api_key}&link={quote(link)}"),
            ("PUT", f"/api/keys/{uuid}"),
            ("DELETE", f"/sub/{sub}"),
            ("GET", f"/sub/{sub}x"),
            ("GET", f"/sub/{sub}/nothing"),
            ("GET", f"/api/keys/{uuid}/history?from={uuid}"),
            ("POST", f"/api/keys/{uuid}/nothing"),
        ):
            told.note(client.request(method, path))
        bodies = ({"name": link * 3}, {"name": ""}, {"name": NAME, uuid: 1}, {"name": NAME, "expires_at": uuid}, [link])
        for body in bodies:
            told.note(client.post("/api/keys", json=body))
        told.note(client.post("/api/keys", content=f'{{"name": "{link}'.encode()))
        told.note(client.post("/api/keys", content=link.encode() * 1000))
        told.note(client.post("/api/keys", json={"name": "x"}, headers={"Idempotency-Key": "order 4711"}))
        told.note(client.post("/api/tokens", json={"name": token, "scope": token}))
    for headers in ({"X-API-Key": GUESS}, {"X-API-Key": f"{token}x"}, {"Authorization": f"Bearer {uuid}"}, {}):
        with visitor(service, GUESSER, headers={"X-API-Key": "", **headers}) as guesser:
            for _ in range(3):
                told.note(guesser.get(f"/api/keys/{uuid}"))
    with socket.create_connection(service.address, source_address=(GUESSER, 0)) as raw:
        raw.sendall(f"GET /sub/{sub} HTTP/1.1\r\nHost: x\r\nX-API-Key: {service.api_key}\r\n\r\n".encode())
        raw.settimeout(5)
        assert b"200 OK" not in raw.recv(1000)


def suffer(service: Service, told: Told, key: Key) -> None:
    """Restarts, kills, drift, a backup, a restore that is refused."""
    os.kill(service.xray_pid(), signal.SIGKILL)
    assert wait_until(lambda: "Xray ended" in service.log())
    service.wait_ready()
    config = service.data_dir / "config.json"
    document = json.loads(config.read_text())
    next(one for one in document["inbounds"] if one.get("port") == key["port"])["settings"]["clients"] = []
    config.write_text(json.dumps(document))
    with visitor(service) as client:
        client.post("/api/system/sync-config").raise_for_status()
        config.write_text("{")
        client.post("/api/system/xray/sync-config").raise_for_status()
        told.note(client.post(f"/api/keys/{key['uuid']}/test"))
    backup = service.data_dir.parent / "a.backup"
    done = service.program("backup", str(backup), "--json", "--passphrase-file", str(_passphrase(service)))
    assert done.returncode == 0, done.stderr
    refused = service.program("restore", str(backup), "--passphrase-file", str(_passphrase(service)))
    assert refused.returncode != 0
    told.texts["backup"] = done.stdout + done.stderr + refused.stdout + refused.stderr
    service.kill()
    service.start()
    service.wait_ready()


def _passphrase(service: Service) -> Path:
    file = service.data_dir.parent / "passphrase"
    file.write_text(PASSPHRASE)
    return file


def break_down(service: Service, told: Told, key: Key) -> None:
    """A bug, as an exception that holds a secret: in a request, in a thread."""
    database = service.data_dir / "vpnkeys.db"
    change = "UPDATE keys SET name = ? WHERE id = ?"  # bytes that are no text: nothing of ours expects them there
    with closing(sqlite3.connect(database)) as connection:
        (name,) = connection.execute("SELECT name FROM keys WHERE id = ?", (key["id"],)).fetchone()
        connection.execute(change, (told.secrets["link"].encode() + b"\xff", key["id"]))
        connection.commit()
        with visitor(service) as client:
            broken = told.note(client.get("/api/keys"))
            assert (broken.status_code, broken.json()["code"]) == (500, "internal_error")
            assert wait_until(lambda: broken.json()["request_id"] in service.log())
        connection.execute(change, (name, key["id"]))
        connection.commit()


def known_secrets(service: Service) -> dict[str, str]:
    """Every secret that the data directory holds, by where it is."""
    found = {"API key": service.api_key, "guess": GUESS, "passphrase": PASSPHRASE}
    reality = json.loads((service.data_dir / "reality.json").read_text())
    private = reality["private_key"]
    raw = base64.urlsafe_b64decode(private + "=")
    found |= {"REALITY key": private, "REALITY key in base64": base64.b64encode(raw).decode(), "in hex": raw.hex()}
    found |= {f"api-key.json {name}": text for name, text in _read(service, "api-key.json").items()}
    pem = (service.data_dir / "tls" / "key.pem").read_text().splitlines()
    found |= {f"TLS key {number}": line for number, line in enumerate(pem) if not line.startswith("-")}
    return found


def _read(service: Service, name: str) -> dict[str, str]:
    values: dict[str, str] = json.loads((service.data_dir / name).read_text())
    return values


def secrets_of_tables(service: Service) -> dict[str, str]:
    """The same of the database: whatever stands in a column that is secret."""
    found: dict[str, str] = {}
    with closing(sqlite3.connect(service.data_dir / "vpnkeys.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            for column in columns & SECRET_COLUMNS:
                rows = connection.execute(f"SELECT {column} FROM {table}")  # noqa: S608 - our own names
                found |= {f"{table}.{column} {number}": value for number, (value,) in enumerate(rows) if value}
    return found


@pytest.fixture(scope="module", params=["human", "json"])
def told(
    request: pytest.FixtureRequest,
    target: RealityTarget,
    egress: tuple[str, ...],
    byte_server: ByteServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Told]:
    """A server's life, in either format of the log, with all that it says."""
    file = tmp_path_factory.mktemp("log") / "vpnkeys.log"
    settings = {
        "VPNKEYS_LOG_FORMAT": request.param,
        "VPNKEYS_LOG_FILE": str(file),
        "VPNKEYS_LOG_LEVEL": "debug",
        "VPNKEYS_TRAFFIC_INTERVAL_S": "0.2",
        "VPNKEYS_RATE_LIMITS": "create=0,list=0,get=0,delete=0,sync=0,guess=8/minute",
    }
    told = Told()
    with Service(target, egress_allow=egress, settings=settings) as service:
        service.wait_ready()
        with CommandLines([service.pid]) as lines:
            live(service, told, byte_server)
            key = make_key(service, NAME)
            told.for_logs |= {"uuid": key["uuid"], "short id": key["short_id"]}
            err(service, told, key)
            suffer(service, told, key)
            lines.pids.append(service.pid)
            for path in ("/health", "/metrics", "/openapi.json", "/"):
                told.texts[path] = service.client.get(path).raise_for_status().text
            told.secrets |= known_secrets(service) | secrets_of_tables(service)
            break_down(service, told, key)
            lines.look()
        service.stop()
        told.texts |= {"command lines": "\n".join(lines.seen), "stderr": service.log(), "log file": file.read_text()}
        told.texts["errors"] = "\n".join(told.errors)
        yield told


LOGS = ("stderr", "log file")


def test_no_secret_is_anywhere(told: Told) -> None:
    """Neither in what everybody may see, nor in what the operator keeps."""
    assert len(told.secrets) > 30
    assert [
        (name, where) for name, secret in told.secrets.items() for where, text in told.texts.items() if secret in text
    ] == []


def test_no_key_s_uuid_short_id_or_name_is_in_the_log(told: Told) -> None:
    """By which anybody gets in, or who it is; keys are told by their ids."""
    hidden = {**told.for_logs, "name": NAME, "note": NOTE}
    assert [(name, where) for name, text in hidden.items() for where in LOGS if text in told.texts[where]] == []
    assert all("/api/keys/{key_id}/config" in told.texts[where] for where in LOGS)


def test_no_visitor_s_address_is_in_the_log(told: Told) -> None:
    """Neither whose API call it was, nor which customer, nor who guessed."""
    seen = [*LOGS, "errors", "/metrics", "/health"]
    assert [where for where in seen for address in (VISITOR, CUSTOMER, GUESSER) if address in told.texts[where]] == []


def test_everything_was_there_to_be_told(told: Told) -> None:
    """The tests above would find nothing in a log that says nothing: errors, tracebacks, restarts are in it."""
    for where in LOGS:
        text = told.texts[where]
        for said in (
            "Traceback",
            "ValidationError",
            "Xray ended",
            "config.json was unreadable",
            " 401 ",
            " 429 ",
            " 500 ",
        ):
            assert said in text, (where, said)
        assert "[link]" in text
    assert "xray run" in told.texts["command lines"].replace("/xray run", " xray run")
    assert {error.split()[0] for error in told.errors} >= {"400", "401", "404", "405", "429", "500"}
