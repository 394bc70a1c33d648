"""What comes from an old installation was written by strangers too, and so is what their browsers call themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.conftest import SERVER_NAMES
from tests.e2e.test_legacy import run_import
from tests.support.legacy import OldServer, realistic_keys
from tests.support.ports import free_port
from tests.support.service import Service
from tests.support.target import RealityTarget
from tests.web.conftest import Visit

pytestmark = pytest.mark.e2e

_ATTACKS = (
    "<img src=x onerror=window.pwned=1>",
    "\"><script>window.pwned=1</script><b title='",
    "</textarea></title><svg/onload=window.pwned=1>",
    "\u202egnp.exe",
)


@pytest.fixture(scope="module")
def service(target: RealityTarget, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that took over an old one, whose keys have hostile names."""
    service = Service(target)
    keys = realistic_keys(service.ports, SERVER_NAMES)[: len(_ATTACKS)]
    hostile = [replace(key, name=name) for key, name in zip(keys, _ATTACKS, strict=True)]
    directory: Path = tmp_path_factory.mktemp("old") / "server"
    try:
        status, answer = run_import(service, OldServer(directory, hostile, api_port=free_port()).write())
        assert (status, answer["status"]) == (0, "imported")
        service.start()
        yield service
    finally:
        service.close()


def test_imported_names_are_text(visit: Visit, service: Service) -> None:
    """In the list and in the log; a hostile name of a browser, which every request carries, is shown nowhere."""
    with service.new_client() as stranger:
        stranger.headers["User-Agent"] = _ATTACKS[0]
        stranger.patch(f"/api/keys/{stranger.get('/api/keys').json()[0]['id']}", json={"note": "seen"})
    visitor = visit()
    visitor.sign_in(service.api_key)
    names = visitor.page.locator("tbody th .name")
    expect(names).to_have_count(len(_ATTACKS))
    assert sorted(names.all_text_contents()) == sorted(_ATTACKS)
    for view in ("#/audit", "#/system", "#/system/ports", "#/overview"):
        visitor.go(view)
        expect(visitor.page.locator("main h1")).to_be_visible()
        assert visitor.page.evaluate("window.pwned") is None
        assert visitor.page.locator("img:not(.qr), b[title], body script").count() == 0
