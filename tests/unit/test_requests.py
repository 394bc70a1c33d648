"""Ids, lines and counts of requests, on an application of the test's own."""

import asyncio
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest
from fastapi import Depends, FastAPI, Response

from vpnkeys.domain.actor import Actor, set_actor
from vpnkeys.server.requests import AccessLog, LogRateLimiter, Served, current_request_id


async def bot_asks() -> None:
    """Somebody was recognised."""
    set_actor(Actor("bot", "192.0.2.1"))


def made_up() -> FastAPI:
    """Routes that answer, know their request, break, and have somebody recognised."""
    app = FastAPI()

    @app.get("/open/{name}")
    def opened(name: str) -> str:
        return current_request_id()

    @app.get("/known/{name}", dependencies=[Depends(bot_asks)])
    async def known(name: str) -> str:
        return current_request_id()

    @app.get("/kept")
    async def kept(response: Response) -> None:
        response.headers["Cache-Control"] = "max-age=60"

    @app.get("/broken/{name}")
    async def broken(name: str) -> str:
        raise RuntimeError(name)

    return app


@dataclass(slots=True)
class Rig:
    """The application, and what it said of its requests."""

    caplog: pytest.LogCaptureFixture
    served: list[Served] = field(default_factory=list)
    app: AccessLog = field(init=False)

    def __post_init__(self) -> None:
        self.app = AccessLog(made_up(), self.served.append)
        now = time.monotonic()
        for lines in (self.app._reads, self.app._unauthenticated):
            lines._clock = lambda: now  # however long the requests take here, no second passes

    def ask(self, *asked: str, method: str = "GET", **headers: str) -> list[httpx.Response]:
        """The answers to these paths, one after the other."""

        async def all_of_them() -> list[httpx.Response]:
            sent = httpx.Headers(headers, encoding="latin-1")
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return [await client.request(method, path, headers=sent) for path in asked]

        return asyncio.run(all_of_them())

    def lines(self) -> list[str]:
        """The access log."""
        return [record.getMessage() for record in self.caplog.records if record.name == "vpnkeys.access"]


@pytest.fixture
def rig(caplog: pytest.LogCaptureFixture) -> Iterator[Rig]:
    """With the access log on."""
    with caplog.at_level(logging.INFO, "vpnkeys.access"):
        yield Rig(caplog)


@pytest.mark.parametrize("given", ["a", "7f3c-9.x_Z", "x" * 64])
def test_a_sane_id_is_kept(rig: Rig, given: str) -> None:
    """So that a caller finds his request in the log; the handler, in its thread, knows it too."""
    (answer,) = rig.ask("/open/x", **{"X-Request-ID": given})
    assert answer.headers["x-request-id"] == given
    assert answer.json() == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a/b", "ä", "a\tb", "<b>", "a,b"])
def test_any_other_is_replaced(rig: Rig, given: str) -> None:
    """By sixteen hex digits, new each time."""
    answers = rig.ask("/open/x", "/open/x", **({"X-Request-ID": given} if given else {}))
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 2
    assert all(re.fullmatch(r"[0-9a-f]{16}", request_id) for request_id in ids)
    assert {answer.json() for answer in answers} == ids


def test_a_line_tells_the_template_and_never_the_path(rig: Rig) -> None:
    """Method, route, status, time; who asked, where that is known; what is in a path or query stays out."""
    rig.ask("/open/secret?token=secret", "/known/secret", "/nowhere/secret", **{"X-Request-ID": "id-1"})
    rig.ask("/open/secret", method="POST")
    rig.ask("/open/secret", method="SECRET")
    told = [re.sub(r"\d+\.\d ms", "T", line) for line in rig.lines()]
    assert told == [
        "GET /open/{name} 200 in T",
        "GET /known/{name} 200 in T",
        "GET unmatched 404 in T",
        "POST unmatched 405 in T",
        "OTHER unmatched 405 in T",
    ]
    fields = [vars(record)["fields"] for record in rig.caplog.records]
    assert [found.get("actor") for found in fields] == [None, "bot", None, None, None]
    assert fields[1]["route"] == "/known/{name}"
    assert "secret" not in str(fields)


def test_nothing_is_stored_unless_it_says_how(rig: Rig) -> None:
    """Any answer may hold a secret: also an error, and one that is added later."""
    answers = rig.ask("/open/x", "/known/x", "/broken/x", "/nowhere", "/kept")
    found = [answer.headers.get_list("cache-control") for answer in answers]
    assert found == [["no-store"]] * 4 + [["max-age=60"]]


def test_strangers_make_no_labels(rig: Rig) -> None:
    """Whatever methods and paths they make up, on routes that there are and on others."""
    paths = ["/open/x", "/known/x", "/broken/x", "/nowhere", "/made-up"]
    for method in ("PROPFIND", "MADEUP", "M-SEARCH", "PUT", "DELETE"):
        rig.ask(*paths, method=method)
    labels = {(served.method, served.route) for served in rig.served}
    assert labels == {(method, "unmatched") for method in ("OTHER", "PUT", "DELETE")}


def test_a_bug_is_answered_with_an_id_and_counted(rig: Rig) -> None:
    """It was traced by whoever answered it, so it is not raised once more."""
    (answer,) = rig.ask("/broken/x")
    assert answer.status_code == 500
    assert answer.headers["x-request-id"]
    assert [(served.route, served.status) for served in rig.served] == [("/broken/{name}", 500)]


def test_a_caller_who_left_is_counted_as_one(rig: Rig) -> None:
    """Nothing was answered: 499, as proxies write it; what ended it goes on its way."""

    async def gives_up(_scope: object, _receive: object, _send: object) -> None:
        raise ConnectionError

    async def nothing(*_: object) -> dict[str, object]:
        return {}

    app = AccessLog(gives_up, rig.served.append)
    with pytest.raises(ConnectionError):
        asyncio.run(app({"type": "http", "method": "GET", "headers": []}, nothing, nothing))  # type: ignore[arg-type]
    assert [served.status for served in rig.served] == [499]


def test_strangers_do_not_fill_the_log() -> None:
    """A hundred lines at once, ten a second from then on, and the number of those without."""
    now = [0.0]
    lines = LogRateLimiter("requests", at_once=100, per_s=10, clock=lambda: now[0])
    assert sum(lines.take() for _ in range(1000)) == 100
    assert (lines.dropped(), lines.dropped()) == (900, 0)
    now[0] += 1
    assert sum(lines.take() for _ in range(1000)) == 10
    now[0] += 3600
    assert sum(lines.take() for _ in range(1000)) == 100


def test_a_flood_of_strangers_is_counted_whole_and_those_who_are_known_keep_their_lines(rig: Rig) -> None:
    """Metrics see every request."""
    rig.ask(*["/nowhere"] * 150, "/known/x")
    assert len(rig.served) == 151
    lines = rig.lines()
    assert lines[-1].startswith("GET /known/{name} 200")
    assert sum(line.startswith("GET unmatched") for line in lines) < 150
    assert any("more unauthenticated requests" in line for line in lines[-2:])


def test_a_bot_that_polls_leaves_the_log_to_what_matters(rig: Rig) -> None:
    """Reads that went well are told in short when there are thousands of them."""
    rig.ask(*["/known/x"] * 1500)
    assert len(rig.served) == 1500
    assert 1000 <= len(rig.lines()) < 1400
