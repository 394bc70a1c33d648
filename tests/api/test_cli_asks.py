"""On a terminal, each command that cannot be undone asks first; there is none that does not."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest
from tests.api.test_cli_failures import ANSWERS, ID, KEY
from tests.support.answering import Answering, answering

from vpnkeys.cli import remote
from vpnkeys.cli.output.operations import COMMANDS

FINAL = {
    "DELETE /api/keys/{key_id}": f"keys rm {ID}",
    "POST /api/keys/bulk/delete": f"keys rm {ID} {ID}",
    "POST /api/keys/{key_id}/rotate": f"keys rotate {ID} --uuid",
    "POST /api/keys/{key_id}/traffic/reset": f"traffic reset {ID}",
    "POST /api/keys/{key_id}/subscription": f"keys sub {ID}",
    "DELETE /api/keys/{key_id}/subscription": f"keys sub {ID} --revoke",
    "DELETE /api/subscriptions/{subscription_id}": "subscriptions rm s1",
    "POST /api/system/sync-config": "sync",
    "POST /api/system/xray/sync-config": "sync --restart",
    "POST /api/system/ports/reset": "system ports-reset",
    "POST /api/system/verify-reality": "system verify-reality",
    "POST /api/system/fix-reality-keys": "system fix-reality-keys",
    "POST /api/tokens/{token_id}/rotate": "tokens rotate t1",
    "DELETE /api/tokens/{token_id}": "tokens revoke t1",
    "DELETE /api/nodes/{node_id}": "nodes rm eu",
    "POST /api/nodes/{node_id}/move": "nodes move eu",
    "DELETE /api/doors/{tag}": "import close-door d1",
    "DELETE /api/webhooks/{webhook_id}": "webhooks rm w1",
}
"""Each request that loses something for good, such as a link, a token or a count, with a command that sends it."""

ALSO_FINAL = [f"keys set {ID} --port 0", "tokens rotate t1 --overlap-hours 2 --quiet"]
"""Commands whose request loses something only so."""

UNDOABLE = {
    "POST /api/keys",
    "POST /api/keys/bulk",
    "POST /api/keys/bulk/extend",
    "PATCH /api/keys/{key_id}",
    "POST /api/keys/{key_id}/test",
    "POST /api/subscriptions",
    "POST /api/tokens",
    "POST /api/nodes",
    "PATCH /api/nodes/{node_id}",
    "POST /api/nodes/{node_id}/replace",  # what it is for is done when the new machine joins
    "POST /api/webhooks",
    "PATCH /api/webhooks/{webhook_id}",
    "POST /api/webhooks/{webhook_id}/test",
    "POST /api/backups",
}
"""Each other request that changes something: what it makes can be removed, what it changes be changed back."""

_MOVE = {"key_id": ID, "uuid": ID, "name": "Anna", "old_port": 10002, "new_port": 10001}
_PLANS: dict[str, object] = {
    f"/api/keys/{ID}/subscription": {"key_id": ID, "exists": True, "created_at": "2025-08-05T12:00:00"},
    "/api/system/plan": {"in_sync": False, "running": True, "file": {"rewrite": True, "problem": ""}, "timestamp": 1},
    "/api/system/ports/plan": {"changed": [_MOVE], "timestamp": 1},
    "/api/keys": [KEY],
}


@pytest.fixture
def server() -> Iterator[Answering]:
    """A server that shows what would be lost, and refuses the rest: that it is asked is enough."""
    with answering({**ANSWERS, **_PLANS}) as server:
        yield server


def _changes(server: Answering) -> list[str]:
    return [request for request in server.asked if not request.startswith("GET ")]


def test_each_request_that_changes_something_is_known() -> None:
    """A new one is put into one of the tables."""
    assert {request for request in COMMANDS if not request.startswith("GET ")} == FINAL.keys() | UNDOABLE
    assert not FINAL.keys() & UNDOABLE


@pytest.mark.parametrize("line", [*FINAL.values(), *ALSO_FINAL])
def test_it_asks_on_a_terminal(server: Answering, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """A "no" ends it, and nothing was changed; with --yes it does not ask."""
    with monkeypatch.context() as patch:
        patch.setattr(remote, "can_ask", lambda: True)
        told = server.run(line, typed="n\n")
        assert (told.exit_code, _changes(server)) == (1, [])
        assert "[y/N]" in told.stderr
        told = server.run(line, "--yes", typed="n\n")
    assert "[y/N]" not in told.stderr
    assert len(_changes(server)) == 1


@pytest.mark.parametrize("line", [*FINAL.values(), *ALSO_FINAL])
def test_it_asks_no_script(server: Answering, line: str) -> None:
    """Without a terminal nobody could answer."""
    told = server.run(line)
    assert "[y/N]" not in told.output
    assert len(_changes(server)) == 1


@pytest.mark.parametrize("request_", FINAL)
def test_the_command_sends_the_request(server: Answering, request_: str) -> None:
    """Otherwise the tables would say nothing of it."""
    server.run(FINAL[request_])
    method, path = request_.split()
    [change] = _changes(server)
    names = [part for part in path.split("/") if part and not part.startswith("{")]
    assert change.split()[0] == method
    assert [part for part in shlex.split(change)[1].partition("?")[0].split("/") if part in names] == names


@pytest.mark.parametrize(
    "line", [f"keys set {ID} --note x", f"keys extend {ID} --days 1", "webhooks set w1 --inactive"]
)
def test_what_can_be_undone_does_not_ask(server: Answering, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """A question too many teaches people to answer without reading."""
    monkeypatch.setattr(remote, "can_ask", lambda: True)
    assert "[y/N]" not in server.run(line).output
    assert len(_changes(server)) == 1
