"""The files of the dashboard: served from the package, under a strict policy, and nothing beside them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
from tests.support.service import Service
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

_ROOM = Path(str(files("vpnkeys").joinpath("web", "ui")))


@pytest.fixture(scope="module")
def reader(target: RealityTarget) -> Iterator[httpx.Client]:
    """Somebody without a token, in front of a service of this module's own."""
    with Service(target) as service, service.new_client(api_key="") as reader:
        yield reader


def _named(page: str) -> list[str]:
    """The paths of what the page names. It names them by relative ones, for a proxy that has it below a prefix."""
    return [f"/ui/{name}" for name in re.findall(r'(?:src|href)="([^"]+)"', page)]


def test_the_page_is_below_its_own_address(reader: httpx.Client) -> None:
    """`/ui` leads there."""
    answer = reader.get("/ui", follow_redirects=False)
    assert (answer.is_redirect, answer.headers["location"]) == (True, "./ui/")


def test_everything_it_names_is_served_here_and_kept_for_good(reader: httpx.Client) -> None:
    """By names that change with what is in them; the page itself is asked for each time."""
    page = reader.get("/ui/")
    assert page.headers["cache-control"] == "no-cache"
    assert not re.search(r"<script>|<style|\son\w+=|style=", page.text)
    for path in _named(page.text):
        answer = reader.get(path)
        assert answer.status_code == httpx.codes.OK, path
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_module_is_waited_for(reader: httpx.Client) -> None:
    """The page names every module, so that a browser fetches all of them at once instead of one behind the other."""
    named = {path.split("/", 3)[-1] for path in _named(reader.get("/ui/").text) if path.endswith(".js")}
    assert named == {str(file.relative_to(_ROOM)) for file in _ROOM.rglob("*.js")}


def test_no_page_names_a_place_by_an_absolute_path() -> None:
    """The dashboard and the description of the API work below the prefix of a proxy in front."""
    web = _ROOM.parent
    absolute = re.compile(r"""(?:src|href|url|fetch|EventSource)\s*[=:(]\s*["'`]/""")
    pages = [*web.glob("*/*.html"), *web.glob("docs/page.js"), *(_ROOM / "js").rglob("*.js")]
    assert [str(page) for page in pages if absolute.search(page.read_text())] == []


def test_the_policy_allows_its_own_files_and_nothing_else(reader: httpx.Client) -> None:
    """No inline script or style, no other origin, no frame, no markup made from text."""
    policy = dict(
        part.strip().split(" ", 1) for part in reader.get("/ui/").headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["img-src"] == "'self'"
    assert (policy["require-trusted-types-for"], policy["trusted-types"]) == ("'script'", "'none'")


@pytest.mark.parametrize(
    "name",
    ["index.html", "vendor/README.md", "js/main.js", "..%2fdocs/page.js", "%2e%2e/%2e%2e/__init__.py", "x", "a/b"],
)
def test_nothing_else_is_served(reader: httpx.Client, name: str) -> None:
    """Only what the page names has a path; with another edition in front neither."""
    assert reader.get(f"/ui/{name}").status_code == httpx.codes.NOT_FOUND
    assert reader.get(f"/ui/000000000000/{name}").status_code == httpx.codes.NOT_FOUND


def test_it_is_small(reader: httpx.Client) -> None:
    """Everything a first visit fetches is within half a megabyte."""
    total = 0
    for path in ["/ui/", *_named(reader.get("/ui/").text)]:
        with reader.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
            total += sum(len(part) for part in answer.iter_raw())
    assert total < 500_000


def test_what_others_made_is_as_they_published_it() -> None:
    """Each file has the digest that is written down beside it, and its licence with it."""
    vendor = _ROOM / "vendor"
    written = dict(re.findall(r"\| `([^`]+)` \| [^|]+ \| `([0-9a-f]{64})` \|", (vendor / "README.md").read_text()))
    found = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in vendor.iterdir()
        if file.name != "README.md"
    }
    assert found == written


def test_no_script_makes_markup_from_text() -> None:
    """None of the ways that a browser has for that, none to run text, and no storage but for language and theme."""
    for file in [*(_ROOM / "js").rglob("*.js"), *(_ROOM / "i18n").rglob("*.js")]:
        text = file.read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|Function\(|DOMParser", text
        )
        assert "sessionStorage" not in text
        assert len(text.splitlines()) <= 300, file
