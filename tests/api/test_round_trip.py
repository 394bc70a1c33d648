"""Each answer of the real service, read by the Python client: nothing is lost, unknown or left out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
from pydantic import BaseModel
from tests.support.receiver import Receiver
from tests.support.service import Service
from tests.support.target import RealityTarget

from vpnkeys.client import Answer, Client

pytestmark = pytest.mark.e2e

_UNTIL = datetime(2031, 12, 31, tzinfo=UTC)


@pytest.fixture(scope="module")
def service(target: RealityTarget) -> Iterator[Service]:
    """A service of this module's own: its ports are handed out again."""
    with Service(target) as service:
        service.wait_ready()
        yield service


class Read:
    """A client that keeps what was sent, and compares what it reads with it."""

    def __init__(self, service: Service) -> None:
        """Listen to every answer."""
        http = service.new_client()
        http.event_hooks = {"response": [self._keep]}
        self.client = Client.over(http)

    def _keep(self, response: httpx.Response) -> None:
        response.read()
        self._sent = response.json()

    def same(self, *answers: Answer) -> None:
        """These answers are what was sent last, and this server has filled in every field."""
        sent = self._sent if isinstance(self._sent, list) else [self._sent]
        assert [answer.as_sent() for answer in answers] == sent
        for model in _models_in(answers):
            assert not model.model_extra, type(model)
            assert model.model_fields_set == type(model).model_fields.keys(), type(model)


def _models_in(value: object) -> Iterator[BaseModel]:
    if isinstance(value, BaseModel):
        yield value
        value = tuple(vars(value).values())
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple):
        for part in value:
            yield from _models_in(part)


@pytest.fixture
def read(service: Service) -> Iterator[Read]:
    """A client that compares."""
    read = Read(service)
    with read.client:
        yield read


def test_keys(read: Read) -> None:
    """Made, shown, changed and deleted, one and many."""
    keys = read.client.keys
    key = keys.create("one", note="n", expires_at=_UNTIL, traffic_limit_bytes=10**9, max_devices=2)
    read.same(key)
    read.same(*keys.create_many([{"name": "a", "expires_at": _UNTIL}, {"name": "b"}]))
    read.same(*(found := keys.list()))
    read.same(*keys.extend([one.id for one in found], days=1))
    read.same(keys.get(key.id))
    read.same(keys.config(key.id))
    read.same(keys.change(key.id, is_active=False))
    read.same(keys.change(key.id, is_active=True))
    read.same(keys.rotate(key.id, uuid=True, short_id=True))
    read.same(keys.test_key(key.id))
    read.same(keys.delete_many([one.id for one in found if one.id != key.id]))
    read.same(keys.delete(key.id))


def test_traffic_and_subscriptions(read: Read) -> None:
    """Of one key, which its own test has used, and of all."""
    keys, traffic = read.client.keys, read.client.traffic
    key = keys.create("used")
    keys.test_key(key.id)
    read.same(keys.traffic(key.id))
    read.same(history := keys.history(key.id))
    assert history.points
    read.same(keys.online(key.id))
    read.same(traffic.now())
    read.same(traffic.history())
    read.same(keys.reset_traffic(key.id))
    read.same(keys.subscription(key.id))
    read.same(keys.make_subscription(key.id))
    read.same(keys.subscription(key.id))
    read.same(keys.revoke_subscription(key.id))
    subscriptions = read.client.subscriptions
    read.same(shared := subscriptions.create([key.id]))
    for one in subscriptions.list():
        read.same(one)
    read.same(subscriptions.revoke(shared.id))
    keys.delete(key.id)


def test_the_system(read: Read) -> None:
    """All that is compared, planned and repaired, with a key that gets another port."""
    keys, system = read.client.keys, read.client.system
    gone, kept = keys.create("gone"), keys.create("kept")
    keys.delete(gone.id)
    read.same(system.overview())
    read.same(plan := system.ports_plan())
    read.same(system.ports())
    read.same(system.ports_status())
    read.same(reset := system.reset_ports())
    assert [move.key_id for move in reset.changed] == [move.key_id for move in plan.changed] == [kept.id]
    read.same(system.plan())
    read.same(system.targets())
    read.same(system.config_status())
    read.same(system.xray_config_status())
    read.same(system.xray_inbounds())
    read.same(system.xray_validate_sync())
    read.same(system.sync_config())
    read.same(system.verify_reality())
    read.same(system.xray_sync_config())
    read.same(system.fix_reality_keys())
    read.same(read.client.info())
    read.same(read.client.health())
    keys.delete(kept.id)


def test_tokens_backups_webhooks_and_the_log_of_them(read: Read) -> None:
    """What an administrator has."""
    client = read.client
    read.same(client.tokens.me())
    read.same(token := client.tokens.create("bot", "keys", _UNTIL))
    read.same(rotated := client.tokens.rotate(token.id, 1))
    read.same(client.tokens.revoke(rotated.id))
    read.same(*client.tokens.list())
    read.same(client.backups.make())
    read.same(*client.backups.list())
    with Receiver() as receiver:
        read.same(webhook := client.webhooks.create(receiver.url, ["ping", "key.created"]))
        read.same(client.webhooks.test(webhook.id))
        client.keys.delete(client.keys.create("told").id)
        read.same(client.webhooks.change(webhook.id, is_active=False))
        read.same(*client.webhooks.list())
        deliveries = client.webhooks.deliveries(webhook.id)
        read.same(*deliveries)
        assert deliveries
        read.same(client.webhooks.delete(webhook.id))
    read.same(*client.audit.list())
