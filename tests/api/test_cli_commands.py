"""Everything the API can do has a command, as a table and as JSON, by the Unix socket and by the URL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.command_runs import Things, Way, by_socket, by_url, receiver, run
from tests.support.keys import delete_key, list_keys
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

# {key}, {token}, {webhook} and {backup} are made for each run; {file} is a path of its own, {url} the receiver's.
COMMANDS = {
    "GET /api/": "system info",
    "GET /health": "status",
    "GET /metrics": "metrics",
    "GET /api/events": "top --once",
    "GET /api/keys": "keys list",
    "POST /api/keys": "keys add somebody --note text --devices 2",
    "POST /api/keys/bulk": "keys add --count 2 --prefix many-",
    "POST /api/keys/bulk/delete": "keys rm {key} {key2}",
    "POST /api/keys/bulk/extend": "keys extend {key} --days 30",
    "POST /api/keys/{key_id}/rotate": "keys rotate {key} --uuid --short-id --sni",
    "PATCH /api/keys/{key_id}": "keys set {key} --name renamed",
    "DELETE /api/keys/{key_id}": "keys rm {key}",
    "GET /api/keys/{key_id}/config": "keys show {key}",
    "GET /api/keys/{key_id}/link": "keys link {key}",
    "POST /api/keys/{key_id}/test": "keys test {key}",
    "GET /api/keys/{key_id}/qr.svg": "keys qr {key} --svg {file}",
    "GET /api/keys/{key_id}/traffic": "traffic show {key}",
    "POST /api/keys/{key_id}/traffic/reset": "traffic reset {key}",
    "GET /api/keys/{key_id}/traffic/history": "keys history {key} --from 2025-08-01 --step day",
    "GET /api/keys/{key_id}/online": "keys online {key}",
    "POST /api/keys/{key_id}/subscription": "keys sub {key}",
    "GET /api/keys/{key_id}/subscription": "keys sub {key} --show",
    "DELETE /api/keys/{key_id}/subscription": "keys sub {subscribed} --revoke",
    "POST /api/subscriptions": "subscriptions add {key} {key2}",
    "GET /api/subscriptions": "subscriptions list",
    "DELETE /api/subscriptions/{subscription_id}": "subscriptions rm {shared} --yes",
    "GET /api/traffic": "traffic list",
    "GET /api/traffic/history": "traffic history --to 2025-08-01T12:00:00+03:00",
    "POST /api/system/sync-config": "sync",
    "POST /api/system/xray/sync-config": "sync --restart --yes",
    "GET /api/system/overview": "system overview",
    "GET /api/system/plan": "system plan",
    "GET /api/system/config-status": "system config-status",
    "GET /api/system/xray/config-status": "system xray-config",
    "GET /api/system/xray/inbounds": "system inbounds",
    "GET /api/system/xray/validate-sync": "system validate",
    "GET /api/system/targets": "system targets",
    "GET /api/system/ports": "system ports",
    "GET /api/system/ports/status": "system ports-status",
    "GET /api/system/ports/plan": "system ports-plan",
    "POST /api/system/ports/reset": "system ports-reset --yes",
    "POST /api/system/verify-reality": "system verify-reality",
    "POST /api/system/fix-reality-keys": "system fix-reality-keys",
    "GET /api/tokens/me": "tokens me",
    "GET /api/nodes": "nodes list",
    "GET /api/nodes/{node_id}": "nodes show local",
    "POST /api/nodes": "nodes add {unique} --group eu --port-range 20001-20009 --max-keys 3",
    "PATCH /api/nodes/{node_id}": "nodes set {node} --weight 2 --address vpn.example",
    "POST /api/nodes/{node_id}/move": "nodes move {node} --to local",
    "POST /api/nodes/{node_id}/replace": "nodes replace {node}",
    "DELETE /api/nodes/{node_id}": "nodes rm {node}",
    "GET /api/doors": "import doors",
    "DELETE /api/doors/{tag}": "import close-door {door} --yes",
    "GET /api/tokens": "tokens list",
    "POST /api/tokens": "tokens add bot --scope keys --expires 2031-01-01",
    "POST /api/tokens/{token_id}/rotate": "tokens rotate {token} --overlap-hours 1",
    "DELETE /api/tokens/{token_id}": "tokens revoke {token}",
    "GET /api/webhooks": "webhooks list",
    "POST /api/webhooks": "webhooks add {url} --event key.expired",
    "PATCH /api/webhooks/{webhook_id}": "webhooks set {webhook} --to {url}/other --event key.deleted --inactive",
    "DELETE /api/webhooks/{webhook_id}": "webhooks rm {webhook}",
    "POST /api/webhooks/{webhook_id}/test": "webhooks test {webhook}",
    "GET /api/webhooks/{webhook_id}/deliveries": "webhooks deliveries {webhook}",
    "GET /api/audit": "audit --limit 5 --subject {key}",
    "GET /api/backups": "backups list",
    "POST /api/backups": "backups make",
    "GET /api/backups/{name}": "backups get {backup} -o {file}",
}
"""Each operation with a command that asks for it."""

MORE = ["keys qr {key}"]
"""Commands that ask for what others ask for."""

ALSO = {"GET /": "GET /api/", "GET /api/keys/{key_id}": "GET /api/keys/{key_id}/config"}
"""Operations whose whole answer is in another's, which a command asks for."""

FOR_BROWSERS = ("/ui/", "/sub/", "/docs")


@pytest.fixture(scope="module")
def service(target: RealityTarget) -> Iterator[Service]:
    """A service of this module's own, with ports for many keys."""
    with Service(target, port_count=100) as service:
        service.wait_ready()
        yield service


@pytest.fixture(scope="module")
def receiver_url() -> Iterator[str]:
    """The address of somebody who takes webhooks."""
    with receiver() as url:
        yield url


@pytest.fixture
def things(service: Service, tmp_path: Path, receiver_url: str) -> Iterator[Things]:
    """What is needed; keys are gone afterwards."""
    yield Things(service, tmp_path, receiver_url)
    for key in list_keys(service):
        delete_key(service, key)


def count_of(service: Service, operation: str) -> float:
    """How often the service was asked for it and did it."""
    method, route = operation.split()
    wanted = {"method": method, "route": route, "status": "200"}
    families = text_string_to_metric_families(service.client.get("/metrics").text)
    return sum(s.value for f in families for s in f.samples if s.name.endswith("requests_total") and s.labels == wanted)


def operations(service: Service) -> dict[str, Any]:
    """All that the service describes, but what is for browsers alone."""
    paths = service.client.get("/openapi.json").json()["paths"]
    return {
        f"{method.upper()} {path}": operation
        for path, found in paths.items()
        if not path.startswith(FOR_BROWSERS)
        for method, operation in found.items()
    }


def test_everything_the_api_can_do_has_a_command(service: Service) -> None:
    """A new route without a command is seen here, and so is a command for a route that is gone."""
    assert {*COMMANDS, *ALSO} == operations(service).keys()
    assert {*ALSO.values()} <= COMMANDS.keys()


def runs() -> Iterator[Any]:
    """Each command once by each way and once in each form, and all four pairs of them with --soak."""
    for number, (operation, line) in enumerate([*COMMANDS.items(), *(("", line) for line in MORE)]):
        for way, is_json in product((by_socket, by_url), (False, True)):
            is_other = ((way is by_url) + is_json + number) % 2
            name = f"{operation}-{line}-{way.__name__}-{'json' if is_json else 'table'}"
            yield pytest.param(operation, line, way, is_json, id=name, marks=[pytest.mark.soak] * is_other)


@pytest.mark.parametrize(("operation", "line", "way", "is_json"), [*runs()])
def test_a_command_does_what_its_operation_does(  # noqa: PLR0913  (two fixtures, and a row)
    service: Service,
    things: Things,
    *,
    operation: str,
    line: str,
    way: Way,
    is_json: bool,
) -> None:
    """It asks for that operation, ends with 0, and tells people something that is no JSON; programs get JSON."""
    before = count_of(service, operation) if operation else 0.0
    arguments = [part.format_map(things) for part in line.split()]
    if line == "backups make":
        things.await_next_second()
    told = run([*arguments, "--json"] if is_json else arguments, way(service))
    assert (told.exit_code, told.exception) == (0, None), told.output
    if operation:  # an answer that goes on is counted when it has ended
        service.child.wait_for(partial(_is_more, service, operation, before), f"count of {operation}")
    assert told.stdout.strip()
    assert _is_json(told.stdout) is is_json, told.stdout


def _is_more(service: Service, operation: str, seen: float) -> bool:
    return count_of(service, operation) > seen


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
