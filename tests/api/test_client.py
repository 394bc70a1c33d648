"""The Python client against the real service, and against those that pretend to be it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
from tests.support.certificates import Authority
from tests.support.link import VlessLink
from tests.support.ports import free_port
from tests.support.service import Service
from tests.support.target import RealityTarget

from vpnkeys.client import (
    Client,
    NewKey,
    NotFound,
    Rejected,
    Unauthorized,
    Unavailable,
)
from vpnkeys.client.agent import ControlPlane

_PRINTED = "certificate (SHA-256): "
_STRANGER = ":".join(["00"] * 32)


@pytest.fixture(scope="module")
def service(target: RealityTarget) -> Iterator[Service]:
    """A service of this module's own."""
    with Service(target) as service:
        service.wait_ready()
        yield service


@pytest.fixture(scope="module")
def fingerprint(service: Service) -> str:
    """What the service printed for people to copy."""
    return next(line for line in service.log().splitlines() if line.startswith(_PRINTED)).removeprefix(_PRINTED)


@pytest.fixture(scope="module")
def client(service: Service, fingerprint: str) -> Iterator[Client]:
    """A client that trusts the service by its fingerprint."""
    with Client(service.base_url, service.api_key, fingerprint=fingerprint) as client:
        yield client


@pytest.mark.e2e
class TestAgainstTheService:
    """Every method gets from the real service what its type promises."""

    def test_a_key_from_its_making_to_its_end(self, client: Client) -> None:
        """Made, found by id and by UUID, listed, linked, deleted, gone."""
        key = client.keys.create("Иван Петров")
        assert (key.name, key.is_active, key.created_at.tzinfo) == ("Иван Петров", True, UTC)
        found = client.keys.get(key.id)
        assert {**found.as_sent(), "ignored_fields": []} == key.as_sent()
        assert found == client.keys.get(key.uuid.upper())
        assert [found] == client.keys.list(key.name)
        assert found in client.keys.list()
        config = client.keys.config(key.id)
        link = VlessLink.parse(config.vless_url)
        assert (link.uuid, link.port, link.short_id, link.name) == (key.uuid, key.port, key.short_id, key.name)
        assert (config.key, config.client_config) == (found, config.vless_url)
        assert client.keys.link(key.id).vless_link == config.vless_url
        assert client.keys.delete(key.uuid).message == "Key deleted successfully"
        with pytest.raises(NotFound) as refused:
            client.keys.get(key.id)
        assert (refused.value.status, refused.value.code) == (404, "key_not_found")

    def test_as_sent_is_what_the_server_sent(self, service: Service, client: Client) -> None:
        """A typed answer can be turned back into the server's own JSON, to the letter."""
        key = client.keys.create("same")
        path = f"/api/keys/{key.id}"
        assert client.keys.get(key.id).as_sent() == service.client.get(path).json()
        assert client.keys.config(key.id).as_sent() == service.client.get(f"{path}/config").json()

    def test_creating_twice_with_one_idempotency_key_makes_one_key(self, client: Client) -> None:
        """The second call gives the first key."""
        first = client.keys.create("once", idempotency_key="order-1")
        assert client.keys.create("once", idempotency_key="order-1") == first
        assert [key.name for key in client.keys.list()].count("once") == 1

    def test_what_is_asked_twice_with_one_idempotency_key_is_done_once(self, client: Client) -> None:
        """Several keys, more days, a new link; the header is a request's own."""
        until = datetime(2031, 12, 31, tzinfo=UTC)
        new: list[NewKey] = [{"name": "twice", "expires_at": until}, {"name": "twice"}]
        made = [client.keys.create_many(new, idempotency_key="order-2") for _ in range(2)]
        assert made[0] == made[1]
        assert {key.id for key in client.keys.list("twice")} == {key.id for key in made[0]}
        ids = [key.id for key in made[0]]
        extended = [client.keys.extend(ids, 30, idempotency_key="order-3") for _ in range(2)]
        assert extended[0] == extended[1]
        assert extended[0][0].expires_at == until + timedelta(days=30)
        rotated = [client.keys.rotate(made[0][0].uuid, uuid=True, idempotency_key="order-4") for _ in range(2)]
        assert rotated[0] == rotated[1]
        assert client.keys.get(ids[0]).uuid == rotated[0].key.uuid != made[0][0].uuid
        with pytest.raises(Rejected) as other:
            client.keys.rotate(ids[1], uuid=True, idempotency_key="order-4")
        assert other.value.code == "idempotency_key_reused"
        client.keys.delete_many(ids)

    def test_limits_are_given_changed_and_lifted(self, client: Client) -> None:
        """Dates go out and come in as the moment that they are, in whatever zone they were said."""
        until = datetime(2031, 12, 31, 23, 59, 59, 123456, tzinfo=timezone(timedelta(hours=3)))
        key = client.keys.create("limits", expires_at=until, max_devices=2, note="n")
        assert (key.expires_at, key.max_devices, key.note, key.status) == (until, 2, "n", "active")
        changed = client.keys.change(key.id, name="other", is_active=False, expires_at=None, traffic_limit_bytes=5)
        assert (changed.name, changed.status, changed.expires_at) == ("other", "disabled", None)
        assert (changed.traffic_limit_bytes, changed.max_devices, changed.note) == (5, 2, "n")
        with pytest.raises(Rejected):
            client.keys.change(key.id, max_devices=0)
        assert client.keys.get(key.uuid) == changed
        client.keys.delete(key.id)

    def test_many_at_once(self, client: Client) -> None:
        """Made, extended and deleted together; a generator will do."""
        until = datetime(2031, 12, 31)  # noqa: DTZ001 - without an offset it is UTC
        made = client.keys.create_many({"name": name, "expires_at": until} for name in "ab")
        assert [key.name for key in made] == ["a", "b"]
        extended = client.keys.extend((key.id for key in made), days=1)
        assert {key.expires_at for key in extended} == {datetime(2032, 1, 1, tzinfo=UTC)}
        assert client.keys.delete_many(key.uuid for key in made).deleted == 2
        with pytest.raises(NotFound):
            client.keys.delete_many([made[0].id])

    def test_keys_come_in_pages(self, client: Client) -> None:
        """All of them, whatever a page holds; a search is in each of its pages."""
        made = [client.keys.create(f"page & co №{number}") for number in range(5)]
        pages: list[list[str]] = []
        after = ""
        while not pages or after:
            keys, after = client.keys.page(2, after, search="page & co")
            pages.append([one.id for one in keys])
        assert pages == [[one.id for one in made[at : at + 2]] for at in (0, 2, 4)]
        assert [one.id for one in client.keys.list(search="page & co")] == [one.id for one in made]
        client.keys.delete_many(one.id for one in made)

    def test_history_and_presence(self, service: Service, client: Client) -> None:
        """Nothing yet, in a span that is as it was asked for."""
        key = client.keys.create("history")
        since, until = datetime(2025, 8, 1, tzinfo=UTC), datetime(2025, 8, 2, tzinfo=UTC)
        history = client.keys.history(key.id, since, until, step="day")
        assert (history.since, history.until, history.step, history.points) == (since, until, "day", ())
        query = {"from": "2025-08-01", "to": "2025-08-02", "step": "day"}
        sent = service.client.get(f"/api/keys/{key.id}/traffic/history", params=query).json()
        assert history.as_sent() == sent
        assert client.keys.history(key.id).points == ()
        assert (client.keys.online(key.uuid).online, client.keys.online(key.id).last_seen) == (False, None)

    def test_traffic_is_told_and_reset(self, client: Client) -> None:
        """A new key has used nothing."""
        key = client.keys.create("traffic")
        traffic = client.keys.traffic(key.uuid)
        assert (traffic.key_id, traffic.key_uuid, traffic.total_bytes) == (key.id, key.uuid, 0)
        assert traffic.timestamp.tzinfo == UTC
        assert client.keys.reset_traffic(key.id).status == "success"

    def test_reading_the_system(self, client: Client) -> None:
        """Everything that changes nothing, all telling of the same keys."""
        key = client.keys.create("system")
        uuids = {key.uuid for key in client.keys.list()}
        status = client.system.config_status()
        assert (status.synchronized, set(status.config_json_uuids)) == (True, uuids)
        ports = client.system.ports()
        assert ports.port_assignments.port_assignments[key.uuid].port == key.port
        assert ports.port_assignments.used_ports[str(key.port)].uuid == key.uuid
        assert client.system.ports_status().validation.valid
        assert client.system.xray_config_status().config_status.config_valid
        inbounds = client.system.xray_inbounds().inbounds
        assert {uuid for inbound in inbounds for uuid in inbound.uuids} == uuids
        validation = client.system.xray_validate_sync().validation
        assert (validation.synced, validation.keys_count) == (True, len(uuids))

    def test_putting_the_system_right(self, client: Client) -> None:
        """Everything that may change something; where nothing is wrong, nothing changes."""
        before = client.keys.list()
        assert client.system.sync_config().validation.synced
        assert client.system.verify_reality().status == "verified"
        assert client.system.xray_sync_config().short_id_sync.fixed_count == 0
        assert client.system.fix_reality_keys().status == "fixed"
        assert client.system.reset_ports().status == "reset"
        assert [key.uuid for key in client.keys.list()] == [key.uuid for key in before]

    def test_info_and_health_need_no_api_key(self, service: Service, fingerprint: str) -> None:
        """What is open is open to the client too."""
        with Client(service.base_url, None, fingerprint=fingerprint) as client:
            assert client.info().version == "2.3.4"
            assert client.health().services["api"] == "running"

    def test_a_wrong_api_key(self, service: Service, fingerprint: str) -> None:
        """Unauthorized, and never something else."""
        with Client(service.base_url, "wrong" * 4, fingerprint=fingerprint) as client:
            with pytest.raises(Unauthorized) as refused:
                client.keys.list()
            assert refused.value.code == "unauthorized"

    def test_a_name_that_is_none(self, client: Client) -> None:
        """Rejected, with the server's words."""
        with pytest.raises(Rejected) as refused:
            client.keys.create("  ")
        assert refused.value.code == "invalid_name"

    @pytest.mark.parametrize("odd", ["a/b", "../health", "?x=1", "%2e", "ключ"])
    def test_an_odd_id_is_an_unknown_key(self, client: Client, odd: str) -> None:
        """It stays an id, whatever it would mean in a path."""
        with pytest.raises(NotFound):
            client.keys.get(odd)


@pytest.mark.e2e
class TestTrust:
    """Nobody but the right server gets the API key."""

    def test_a_pem_file(self, service: Service) -> None:
        """The server's own certificate, as a file."""
        pem = service.data_dir / "tls" / "cert.pem"
        with Client(service.base_url, service.api_key, verify=pem) as client:
            assert client.info().status == "running"

    def test_the_systems_authorities_do_not_know_it(self, service: Service) -> None:
        """A self-signed certificate is not trusted by itself."""
        with Client(service.base_url, service.api_key) as client, pytest.raises(Unavailable) as refused:
            client.info()
        assert refused.value.code == "untrusted_certificate"

    @pytest.mark.parametrize("style", ["lower", "bare", "prefixed"])
    def test_a_fingerprint_in_any_spelling(self, service: Service, fingerprint: str, style: str) -> None:
        """With or without colons, in either case, with the algorithm before it."""
        spelt = {
            "lower": fingerprint.lower(),
            "bare": fingerprint.replace(":", ""),
            "prefixed": f"SHA256:{fingerprint}",
        }[style]
        with Client(service.base_url, service.api_key, fingerprint=spelt) as client:
            assert client.info().status == "running"

    def test_a_stranger_hears_nothing(self, tmp_path: Path) -> None:
        """With another certificate than the pinned one, not a byte of the request is sent."""
        with _Stranger(tmp_path) as stranger:
            with (
                Client(stranger.url, "a-secret-api-key", fingerprint=_STRANGER) as client,
                pytest.raises(Unavailable) as refused,
            ):
                client.keys.list()
            assert refused.value.code == "untrusted_certificate"
            assert stranger.heard() == b""

    def test_nobody_there(self) -> None:
        """Unavailable, without a status."""
        with (
            Client(f"https://127.0.0.1:{free_port()}", "key", fingerprint=_STRANGER) as client,
            pytest.raises(Unavailable) as refused,
        ):
            client.info()
        assert (refused.value.status, refused.value.code) == (None, "unreachable")


class _Stranger:
    """A TLS server that keeps what it hears after the handshake."""

    def __init__(self, directory: Path) -> None:
        """Listen on a free port."""
        certificate, key = Authority(directory).issue(["127.0.0.1"])
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._heard = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._listen)

    def _listen(self) -> None:
        connection, _ = self._listener.accept()
        with connection, self._context.wrap_socket(connection, server_side=True) as tls:
            tls.settimeout(5)
            try:
                self._heard = tls.recv(1000)
            except (ssl.SSLError, ConnectionError):
                self._heard = b""

    @property
    def url(self) -> str:
        """Where it is."""
        return f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    def heard(self) -> bytes:
        """What the first visitor said, after it has gone."""
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self._heard

    def __enter__(self) -> Self:
        """Wait for one visitor."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._listener.close()
        self._thread.join(10)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://203.0.113.10:8000", {}),
        ("203.0.113.10:8000", {}),
        ("https://203.0.113.10", {"fingerprint": "12:34"}),
        ("https://203.0.113.10", {"fingerprint": "zz" * 32}),
        ("https://203.0.113.10", {"verify": False}),
        ("https://203.0.113.10", {"fingerprint": _STRANGER, "verify": "ca.pem"}),
        ("http://127.0.0.1:8000", {"fingerprint": _STRANGER}),
    ],
)
def test_what_would_not_be_safe_is_refused_at_once(url: str, options: dict[str, Any]) -> None:
    """No TLS, no check, or a check that is none: said before anything is sent."""
    with pytest.raises(ValueError, match=r"give|fingerprint"):
        Client(url, "key", **options)


@pytest.mark.parametrize("key", ["ключ", "vpnk_a\nb"])
def test_a_key_that_no_header_carries_is_refused_at_once(key: str) -> None:
    """In words that do not repeat it; an agent's token too."""
    for connect in (
        partial(Client, "https://203.0.113.10", key),
        partial(ControlPlane, "https://203.0.113.10", key, None),
    ):
        with pytest.raises(ValueError, match="copy it again") as refused:
            connect()
        assert key.strip() not in str(refused.value)
