"""The API's description for programs and for people, and that reading it tells nobody else."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

_OURS = {"index.html", "page.js", "page.css", "README.md"}


@pytest.fixture(scope="module")
def service(target: RealityTarget) -> Iterator[Service]:
    """A service of this module's own."""
    with Service(target) as service:
        yield service


@pytest.fixture(scope="module")
def reader(service: Service) -> Iterator[httpx.Client]:
    """Somebody without an API key."""
    with service.new_client(api_key="") as reader:
        yield reader


@pytest.fixture(scope="module")
def schema(reader: httpx.Client) -> dict[str, Any]:
    """What /openapi.json says."""
    described: dict[str, Any] = reader.get("/openapi.json").raise_for_status().json()
    return described


class TestForPrograms:
    """`/openapi.json`."""

    def test_it_is_openapi_3_1_of_this_api(self, schema: dict[str, Any]) -> None:
        """By version and name."""
        assert schema["openapi"].startswith("3.1.")
        assert schema["info"]["version"] == "2.3.4"

    def test_it_promises_no_status_that_is_never_given(self, schema: dict[str, Any]) -> None:
        """The list of statuses is closed; 422 is not on it, and nothing of it is left over."""
        given = {
            status
            for path in schema["paths"].values()
            for operation in path.values()
            for status in operation["responses"]
        }
        assert given <= {"200", "400", "401", "404", "429", "500", "503"}
        assert not {"HTTPValidationError", "ValidationError"} & schema["components"]["schemas"].keys()

    def test_every_reference_leads_somewhere(self, schema: dict[str, Any]) -> None:
        """Nothing was taken out that something else needs."""
        for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(schema)):
            assert name in schema["components"]["schemas"]

    def test_the_page_itself_is_no_part_of_the_api(self, schema: dict[str, Any]) -> None:
        """Clients that are generated have no method for it."""
        assert not [path for path in schema["paths"] if path.startswith("/docs")]


class TestForPeople:
    """`/docs`."""

    def test_everything_it_names_is_served_here(self, reader: httpx.Client) -> None:
        """No script, style or picture of another origin; nothing inside the page either."""
        page = reader.get("/docs")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(named) >= 5
        for path in named:
            assert "//" not in path
            assert reader.get(path).status_code == httpx.codes.OK
        assert not re.search(r"<script>|<style|\son\w+=|style=", page.text)

    def test_the_browser_is_told_to_trust_nothing_else(self, reader: httpx.Client) -> None:
        """A policy without inline scripts, other origins, frames or guessing of types."""
        headers = reader.get("/docs").headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"] == policy["connect-src"] == policy["style-src"] == "'self'"
        assert headers["x-content-type-options"] == "nosniff"

    @pytest.mark.parametrize("path", ["/docs", "/docs/swagger-ui-bundle.js"])
    @pytest.mark.parametrize("encoding", ["gzip", "identity"])
    def test_it_is_sent_once(self, reader: httpx.Client, path: str, encoding: str) -> None:
        """Who has it gets 304; packed and plain have different tags, as they are different bytes."""
        first = reader.get(path, headers={"Accept-Encoding": encoding})
        assert first.headers.get("content-encoding", "identity") == encoding
        assert first.headers["vary"] == "Accept-Encoding"
        tag = first.headers["etag"]
        for known in (tag, f'"other", W/{tag}', "*"):
            again = reader.get(path, headers={"Accept-Encoding": encoding, "If-None-Match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        other = reader.get(path, headers={"Accept-Encoding": encoding, "If-None-Match": '"other"'})
        assert (other.status_code, other.content) == (200, first.content)
        another = {"gzip": "identity", "identity": "gzip"}[encoding]
        assert reader.get(path, headers={"Accept-Encoding": another}).headers["etag"] != tag

    def test_gzip_can_be_declined(self, reader: httpx.Client) -> None:
        """`q=0` is a no."""
        answer = reader.get("/docs", headers={"Accept-Encoding": "gzip;q=0, identity"})
        assert "content-encoding" not in answer.headers

    @pytest.mark.parametrize("name", ["README.md", "index.html", "..%2f..%2f__init__.py", "%2e%2e", "x", "page.js%00"])
    def test_nothing_else_is_served(self, reader: httpx.Client, name: str) -> None:
        """Only what the page needs has a path."""
        assert reader.get(f"/docs/{name}").status_code == httpx.codes.NOT_FOUND


def test_swagger_ui_is_as_its_authors_published_it() -> None:
    """Every file that is not ours has the digest that is written down beside it, and its licence with it."""
    room = files("vpnkeys").joinpath("web", "docs")
    written = dict(
        re.findall(r"\| `([^`]+)` \| `[^`]+` \| `([0-9a-f]{64})` \|", room.joinpath("README.md").read_text())
    )
    found = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in room.iterdir() if file.name not in _OURS
    }
    assert found == written
    assert sum(len(file.read_bytes()) for file in room.iterdir()) < 2_000_000
    assert len(gzip.compress(room.joinpath("swagger-ui-bundle.js").read_bytes())) < 600_000


_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--ignore-certificate-errors",
    # Whatever the browser wants for itself, it gets no further than this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--enable-logging=stderr",
    "--window-size=1200,2000",
    "--virtual-time-budget=20000",
)


@pytest.fixture(scope="module")
def visit(service: Service, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, dict[str, Any]]:
    """(the page's elements in the end, what the browser complained of, what it asked for)."""
    directory = tmp_path_factory.mktemp("chromium")
    told = subprocess.run(
        [
            str(_CHROMIUM),
            *_FLAGS,
            f"--user-data-dir={directory / 'profile'}",
            f"--log-net-log={directory / 'net.json'}",
            "--dump-dom",
            f"{service.base_url}/docs#/keys/create_key_api_keys_post",
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return told.stdout, told.stderr, json.loads((directory / "net.json").read_text())


@pytest.mark.skipif(_CHROMIUM is None, reason="Chromium is not installed")
class TestInABrowser:
    """The page as a person sees it."""

    def test_it_shows_the_api(self, visit: tuple[str, str, dict[str, Any]], schema: dict[str, Any]) -> None:
        """Every path is on the page, and the operation in the link is unfolded."""
        dom = visit[0]
        for path in schema["paths"]:
            assert f'data-path="{path}"' in dom
        assert "Try it out" in dom

    def test_its_own_policy_does_not_hinder_it(self, visit: tuple[str, str, dict[str, Any]]) -> None:
        """The browser refused nothing and no script failed."""
        assert not re.search(r"Content Security Policy|Refused to|Uncaught", visit[1])

    def test_it_asks_nobody_else(self, visit: tuple[str, str, dict[str, Any]], service: Service) -> None:
        """Every request that the page began went to the service."""
        asked = _requests_of(visit[2], service.base_url)
        assert {urlsplit(url).path for url in asked} >= {"/docs", "/docs/swagger-ui-bundle.js", "/openapi.json"}
        assert [url for url in asked if not url.startswith(f"{service.base_url}/")] == []


def _requests_of(net_log: dict[str, Any], origin: str) -> list[str]:
    """URLs that were asked for by a page of this origin, or as one; the browser's own wishes have other initiators."""
    begun = [event["params"] for event in net_log["events"] if "url" in event.get("params", {})]
    return [
        params["url"]
        for params in begun
        if params.get("initiator") == origin or str(params["url"]).startswith(f"{origin}/")
    ]
