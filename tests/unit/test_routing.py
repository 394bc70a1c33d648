"""Every route admits its callers, by whichever way a request comes to it."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

import httpx
import orjson
import pytest
from fastapi import FastAPI, Request
from starlette.routing import Match, Route
from starlette.types import ASGIApp
from tests.contract.test_store import key
from tests.fake_store import FakeStore
from tests.fakes import FakeClock

from vpnkeys.api import app as api_app
from vpnkeys.api.app import create_app
from vpnkeys.api.auth.access import Needs, needs_of, requires
from vpnkeys.api.routing import ApiRoute, ApiRouter, Dispatcher, PlainRoute
from vpnkeys.api.services import Services
from vpnkeys.domain.errors import StoreUnavailable, WaitsElsewhere
from vpnkeys.domain.key import Key
from vpnkeys.domain.key import Keys as AllKeys
from vpnkeys.domain.nodes import NodeRecord, NodeRef
from vpnkeys.domain.token import Scope
from vpnkeys.domain.traffic import Bytes, Samples
from vpnkeys.service.limits.usage import UsageBoard
from vpnkeys.service.nodes.reports import Reported, ReportRefused
from vpnkeys.service.nodes.wanted import Wanted
from vpnkeys.service.tokens import TokenService
from vpnkeys.store.sql.postgresql.kept import in_event_loop
from vpnkeys.wire.agents import Life, Report

KEYS = (key(1), key(2))
API_KEY = "the-first-key"
_NO_FLEET = SimpleNamespace(board=SimpleNamespace())


def nothing_used(since: Mapping[str, datetime | None], _fresh: Iterable[Samples]) -> Mapping[str, int]:
    """What no key has used."""
    return dict.fromkeys(since, 0)


def application(
    rate_limits: dict[str, str] | None = None,
    keys: Callable[[], tuple[Key, ...]] = lambda: KEYS,
    ledger: Callable[[Mapping[str, datetime | None], Iterable[Samples]], Mapping[str, int]] = nothing_used,
    fleet: object = _NO_FLEET,
) -> ASGIApp:
    """An application with two keys, an API key, and no other service."""
    services = dict.fromkeys(Services.__dataclass_fields__, cast("Any", None))
    services["keys"] = SimpleNamespace(list=keys)
    services["health"] = SimpleNamespace(report=None)
    services["fleet"] = fleet
    board = UsageBoard(ledger, FakeClock())
    services["traffic"] = SimpleNamespace(usage=board)
    services["tokens"] = TokenService(FakeStore(), FakeClock(), lambda text: text == API_KEY)
    return create_app(Services(**{**services, "rate_limits": rate_limits or {}}))


def dispatcher_of(app: ASGIApp) -> Dispatcher:
    """The dispatcher inside the middlewares."""
    while not isinstance(app, Dispatcher):
        app = cast("Any", app)._app
    return app


def framework_of(app: ASGIApp) -> FastAPI:
    """The framework's application, behind the dispatcher."""
    return dispatcher_of(app)._app


def without_the_dispatcher(app: ASGIApp) -> ASGIApp:
    """The same application, all of whose requests go through the framework."""
    dispatcher_of(app)._by_method.clear()
    return app


def ask(app: ASGIApp, *asked: tuple[str, str, list[tuple[str, str]]]) -> list[httpx.Response]:
    """The answers to these requests: method, path and headers of each."""

    async def all_of_them() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="https://test") as client:
            return [await client.request(method, path, headers=headers) for method, path, headers in asked]

    return asyncio.run(all_of_them())


def told(answer: httpx.Response) -> tuple[int, str, dict[str, str]]:
    """All of an answer but what differs each time."""
    headers = dict(answer.headers)
    request_id = headers.pop("x-request-id")
    headers.pop("x-ratelimit-reset", None)
    return answer.status_code, answer.text.replace(request_id, "ID"), headers


RIGHT = ("X-API-Key", API_KEY)
RIGHT_TOO = ("Authorization", f"Bearer {API_KEY}")
NOTHING: list[tuple[str, str]] = []
SHOWN: dict[str, list[tuple[str, str]]] = {
    "nothing": NOTHING,
    "the API key": [RIGHT],
    "the API key as a bearer token": [("Authorization", f"bearer {API_KEY}")],
    "a wrong one": [("X-API-Key", "wrong")],
    "a wrong one, and the right one as a bearer token": [
        ("X-API-Key", "wrong"),
        ("Authorization", f"Bearer {API_KEY}"),
    ],
    "an empty one, and the right one as a bearer token": [("X-API-Key", ""), RIGHT_TOO],
    "another scheme": [("Authorization", f"Basic {API_KEY}")],
    "two": [RIGHT, ("X-API-Key", "wrong")],
    "twice the same": [RIGHT, RIGHT],
    "two bearer tokens": [("Authorization", "Bearer wrong"), RIGHT_TOO],
    "a cookie of nobody": [("Cookie", "__Host-vpnkeys=x; other=y")],
}
PATHS = ["/api/keys", "/api/keys?x=1", *(f"/api/keys/{one.id}" for one in KEYS), f"/api/keys/{KEYS[0].uuid}"]
PATHS += ["/api/keys/nobody", "/api/keys/", "/api/keys/bulk", "/api/keys/a%2Fb", "/api/nothing"]


@pytest.mark.parametrize("shown", SHOWN.values(), ids=SHOWN)
def test_the_dispatcher_answers_as_the_framework_does(shown: list[tuple[str, str]]) -> None:
    """To the byte, whoever asks for whatever."""
    asked = [(method, path, shown) for path in PATHS for method in ("GET", "HEAD", "PUT")]
    limits = {"list": "5/minute", "get": "5/minute", "guess": "20/minute"}
    short, long = ask(application(limits), *asked), ask(without_the_dispatcher(application(limits)), *asked)
    assert [told(answer) for answer in short] == [told(answer) for answer in long]


@pytest.mark.parametrize("name", ["two", "twice the same", "two bearer tokens"])
@pytest.mark.parametrize("path", ["/", "/api/keys", "/api/tokens/me", "/nowhere"])
def test_a_header_that_says_who_asks_is_sent_once(name: str, path: str) -> None:
    """Else a proxy and this server may each look at another one."""
    (answer,) = ask(application(), ("GET", path, SHOWN[name]))
    assert (answer.status_code, answer.json()["code"]) == (400, "repeated_header")


@pytest.mark.parametrize("name", ["Idempotency-Key", "Host", "Content-Type", "Cookie", "X-CSRF-Token"])
def test_a_header_that_says_what_is_asked_is_sent_once(name: str) -> None:
    """Of two orders one would be forgotten."""
    (answer,) = ask(application(), ("POST", "/api/keys", [RIGHT, (name, "x"), (name, "y")]))
    assert (answer.status_code, answer.json()["code"]) == (400, "repeated_header")


@pytest.mark.parametrize("path", ["/api/keys", "/api/tokens/me"])
def test_two_headers_with_two_keys_are_refused(path: str) -> None:
    """Whichever of them is right; the same one in both is one key."""
    wrong, wrong_too = ("X-API-Key", "wrong"), ("Authorization", "Bearer wrong")
    for shown in ([wrong, RIGHT_TOO], [RIGHT, wrong_too]):
        (answer,) = ask(application(), ("GET", path, shown))
        assert (answer.status_code, answer.json()["code"]) == (400, "credentials_differ")
    (answer,) = ask(application(), ("GET", path, [RIGHT, RIGHT_TOO]))
    assert answer.status_code == 200


REDIRECTS = {
    "/api/keys/": "/api/keys",
    "/api/keys/?limit=1&x=%2F": "/api/keys?limit=1&x=%2F",
    "/api/keys/a%20b/": "/api/keys/a%20b",
    "/docs/": "/docs",
    "/ui": "/ui/",
}


@pytest.mark.parametrize("path", REDIRECTS)
@pytest.mark.parametrize("prefix", ["", "/behind/a/proxy"])
def test_redirects_are_relative(path: str, prefix: str) -> None:
    """Neither a forged Host nor a proxy that takes a prefix off leads a browser elsewhere."""
    hosts = [("Host", "evil.example"), ("X-Forwarded-Host", "evil.example")]
    answers = ask(application(), *((method, path, hosts) for method in ("GET", "POST")))
    for answer in answers:
        location = answer.headers["location"]
        assert (answer.status_code, "evil" in location, urlsplit(location).netloc) == (307, False, "")
        assert urljoin(f"https://test{prefix}{path}", location) == f"https://test{prefix}{REDIRECTS[path]}"


@pytest.mark.parametrize("path", ["//evil.example/", "//evil.example", "/sub/x//", "/nowhere/", "/%2F%2Fevil.example/"])
def test_what_no_route_has_is_not_redirected(path: str) -> None:
    """Not even to a path that looks like a host."""
    (answer,) = ask(application(), ("GET", f"https://test{path}", NOTHING))
    assert (answer.status_code, answer.headers.get("location")) == (404, None)


@pytest.mark.parametrize("path", ["/api/keys", "/api/tokens/me"])
def test_spaces_around_a_value_are_no_part_of_it(path: str) -> None:
    """As RFC 9110 has it."""
    shown = [("X-API-Key", f" \t{API_KEY}\t "), ("Authorization", f" Bearer  {API_KEY} "), ("X-Request-ID", " mine ")]
    (answer,) = ask(application(), ("GET", path, shown))
    assert (answer.status_code, answer.headers["x-request-id"]) == (200, "mine")


def test_a_picture_is_drawn_in_a_thread() -> None:
    """It takes as long as a hundred other answers, which are given meanwhile."""
    drawn_in = []

    def link(_key: Key) -> str:
        drawn_in.append(threading.current_thread())
        return "vless://a-link"

    app = application()
    keys = framework_of(app).state.services.keys
    keys.link, keys.get = link, lambda _id: KEYS[0]
    (answer,) = ask(app, ("GET", f"/api/keys/{KEYS[0].id}/qr.svg", [RIGHT]))
    assert (answer.status_code, len(drawn_in)) == (200, 1)
    assert threading.main_thread() not in drawn_in


def test_errors_of_plain_routes_are_answered_too() -> None:
    """A database that does not answer, and a bug."""

    def silent() -> tuple[Key, ...]:
        raise StoreUnavailable("The database does not answer.")

    def broken() -> tuple[Key, ...]:
        raise RuntimeError

    (unavailable,) = ask(application(keys=silent), ("GET", "/api/keys", [RIGHT]))
    assert (unavailable.status_code, unavailable.headers["retry-after"]) == (503, "2")
    (bug,) = ask(application(keys=broken), ("GET", "/api/keys", [RIGHT]))
    assert (bug.status_code, bug.json()["code"]) == (500, "internal_error")


def test_plain_routes_are_dispatched_directly() -> None:
    """Without the framework, which is not asked at all."""
    app = application()

    async def refuses(*_: object) -> None:
        raise AssertionError

    dispatcher_of(app)._app.middleware_stack = refuses
    answers = ask(app, ("GET", "/api/keys", [RIGHT]), ("GET", f"/api/keys/{KEYS[0].id}", [RIGHT]))
    assert [answer.status_code for answer in answers] == [200, 200]


def test_every_route_says_who_may_call_it() -> None:
    """And those that only their pages and what anybody may know are open; the rest answers nobody with 401."""
    app = application()
    routes = [route for route in framework_of(app).routes if isinstance(route, Route)]
    assert {route.path for route in routes if not isinstance(route, ApiRoute)} == {"/openapi.json"}
    known = [route for route in routes if isinstance(route, ApiRoute)]
    opened = {route.path for route in known if route.needs.scope is None}
    assert {path.split("/")[1] for path in opened} == {"", "agent", "api", "health", "docs", "sub", "ui"}
    assert {path for path in opened if path.startswith("/api")} == {"/api", "/api/"}
    closed = [route for route in known if route.needs.scope is not None]
    asked = [(method, route.path, NOTHING) for route in closed for method in sorted(route.methods or ())]
    assert len(asked) > 50
    assert {answer.status_code for answer in ask(app, *asked)} == {401}


def test_only_pages_without_secrets_are_stored() -> None:
    """No answer of the API, no sign-in, no subscription."""
    app = application()
    routes = [route for route in framework_of(app).routes if isinstance(route, Route)]
    asked = [(method, route.path, NOTHING) for route in routes for method in sorted(route.methods or ())]
    answers = zip(asked, ask(app, *asked), strict=True)
    stored = {path for (_, path, _), answer in answers if answer.headers["cache-control"] != "no-store"}
    assert stored == {"/ui/", "/docs"}
    (listed,) = ask(app, ("GET", "/api/keys", [RIGHT]))
    assert listed.headers["cache-control"] == "no-store"


def test_the_table_finds_the_route_that_the_framework_finds() -> None:
    """Also where two templates fit one path."""
    framework = framework_of(application())
    ways = dispatcher_of(application())
    for route in framework.routes:
        for method in getattr(route, "methods", None) or ():
            path = cast("Any", route).path_format.format_map(_Anything())
            scope = {"type": "http", "method": method, "path": path, "root_path": ""}
            found = next(one for one in framework.routes if one.matches(scope)[0] is Match.FULL)
            plain = ways._find({**scope})
            assert (plain and plain.path) == (found.path if isinstance(found, PlainRoute) else None)


class _Anything(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "x"


def test_a_route_that_does_not_say_who_may_call_it_is_none() -> None:
    """It fails when it is written, not when it is called."""
    router = ApiRouter()
    with pytest.raises(TypeError, match="does not say who may call it"):
        router.get("/")(lambda: None)

    @requires(Scope.KEYS, limit="create")
    def endpoint() -> None: ...

    assert needs_of(endpoint) == Needs(Scope.KEYS, "create")


def test_what_a_database_elsewhere_knows_is_read_in_a_thread_and_once() -> None:
    """Of the keys that are asked for, and no others; the rate limit counts one request."""
    read: list[list[str]] = []

    def elsewhere(since: Mapping[str, datetime | None], _fresh: Iterable[Samples]) -> Mapping[str, int]:
        if in_event_loop():
            raise WaitsElsewhere("The database is elsewhere.")
        read.append([*since])
        return dict.fromkeys(since, 7)

    asked = ("GET", f"/api/keys/{KEYS[0].id}", [RIGHT])
    answers = ask(application({"get": "2/minute"}, ledger=elsewhere), asked, asked, asked)
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].json()["used_in_window_bytes"] == 7
    assert read == [[KEYS[0].account]]
    (through_the_framework,) = ask(without_the_dispatcher(application(ledger=elsewhere)), asked)
    assert through_the_framework.json()["used_in_window_bytes"] == 7


def reporting(receive_all: Callable[[Sequence[Reported]], Sequence[Wanted | ReportRefused]]) -> ASGIApp:
    """An application whose nodes are known by their names, which agents send as their tokens."""
    nodes = {name: NodeRecord(NodeRef(number, name), "default", 1, None) for number, name in enumerate(NAMES, 2)}
    admin = SimpleNamespace(identify=nodes.get, is_old=lambda _node: False, clock=FakeClock())
    reports = SimpleNamespace(receive_all=receive_all)
    board = SimpleNamespace(is_awaited=lambda node_id: nodes[AWAITED].ref.id == node_id)
    return application(fleet=SimpleNamespace(board=board, admin=admin, reports=reports))


NAMES = [f"node-{number}" for number in range(9)]
AWAITED = NAMES[7]


def all_report(app: ASGIApp) -> list[httpx.Response]:
    """The answers to the reports of all nodes, which are sent at once."""
    now = FakeClock().now()
    said = Report(now=now, lives=(Life(epoch="x", sampled_at=now, usage={"a": (1, 2)}),)).model_dump_json()

    async def report() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://test") as client:
            asked = (client.post("/agent/report", content=said, headers={"X-API-Key": name}) for name in NAMES)
            return await asyncio.gather(*asked)

    return asyncio.run(report())


def test_reports_that_come_during_a_commit_are_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand agents report, and a commit may take long; the framework would read each as objects, one by one."""
    read: list[Request] = []
    stored: list[tuple[list[str], bool]] = []

    async def json_of(request: Request) -> object:
        read.append(request)
        return orjson.loads(await request.body())

    def receive_all(reports: Sequence[Reported]) -> list[Wanted | ReportRefused]:
        assert all(one.lives[0].samples.usage == {"a": Bytes(1, 2)} for _, one, _ in reports)
        assert [actor.name for *_, actor in reports] == [f"node {node.ref.name}" for node, *_ in reports]
        stored.append(([node.ref.name for node, *_ in reports], in_event_loop()))
        time.sleep(0.2)
        wanted = Wanted(AllKeys(), "mark", 1, 1, 0.0)
        return [ReportRefused("no") if node.ref.name == NAMES[3] else wanted for node, *_ in reports]

    monkeypatch.setattr(Request, "json", json_of)
    answers = all_report(reporting(receive_all))
    assert [answer.status_code for answer in answers] == [200, 200, 200, 400, 200, 200, 200, 200, 200]
    assert sorted(name for names, _ in stored for name in names) == NAMES
    assert len(stored) <= 3
    assert not any(is_in_loop for _, is_in_loop in stored)
    assert read == []


def test_a_report_for_which_a_request_waits_is_stored_before_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the reports that wait for a commit, it is in the next one, though it came after them."""
    stored: list[list[str]] = []

    def receive_all(reports: Sequence[Reported]) -> list[Wanted | ReportRefused]:
        stored.append([node.ref.name for node, *_ in reports])
        time.sleep(0.2)
        return [Wanted(AllKeys(), "mark", 1, 1, 0.0) for _ in reports]

    monkeypatch.setattr(api_app, "_REPORTS_AT_ONCE", 2)
    all_report(reporting(receive_all))
    at = next(place for place, names in enumerate(stored) if AWAITED in names)
    assert (at <= 1, sorted(name for names in stored for name in names)) == (True, NAMES), stored


def test_a_report_that_cannot_be_stored_takes_no_other_along() -> None:
    """They are stored one by one then."""

    def receive_all(reports: Sequence[Reported]) -> list[Wanted | ReportRefused]:
        if any(node.ref.name == NAMES[3] for node, *_ in reports):
            raise ZeroDivisionError
        return [Wanted(AllKeys(), "mark", 1, 1, 0.0) for _ in reports]

    statuses = [answer.status_code for answer in all_report(reporting(receive_all))]
    assert statuses == [200, 200, 200, 500, 200, 200, 200, 200, 200]


@pytest.mark.parametrize("is_news", [False, True])
def test_an_agent_that_waits_looks_again_when_there_are_news(is_news: bool) -> None:
    """And when its time is over: a thousand may wait. What changes while it looks is not missed."""
    looks: list[int] = []
    node = NodeRecord(NodeRef(2, "far"), "default", 1, None)
    admin = SimpleNamespace(identify=lambda _token: node, clock=FakeClock())
    board = SimpleNamespace(used=lambda _keys, _now: {}, on_news=None)

    def wanted(node_id: int) -> Wanted:
        looks.append(node_id)
        found = Wanted(AllKeys(), "mark" if len(looks) == 1 else "another" if is_news else "mark", 1, 1, 0.0)
        if is_news:
            board.on_news(node_id)
        return found

    board.wanted = wanted
    app = application(fleet=SimpleNamespace(board=board, admin=admin))
    (answer,) = ask(app, ("GET", f"/agent/desired?rev=mark&ticket=1&wait_s={50 if is_news else 2.5}", [RIGHT]))
    assert answer.status_code == (200 if is_news else 204)
    assert len(looks) == 2
