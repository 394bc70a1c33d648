"""The server and its Python client have one definition of each body, and it needs nothing else of ours."""

from __future__ import annotations

import ast
import asyncio
import importlib
import json
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from inspect import getmembers, isasyncgen, isfunction, isgenerator, signature
from typing import Any, get_args, get_origin, get_type_hints

import httpx
import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel
from tests.support.process import REPOSITORY

from vpnkeys.api import routes
from vpnkeys.client import ApiError, AsyncClient, Client, KeyFields, NewKey
from vpnkeys.client._calls import Call
from vpnkeys.client._keys import KeyPage
from vpnkeys.domain import audit, event, limits, naming, token, traffic, webhook
from vpnkeys.domain.limits import window
from vpnkeys.wire import base, keys, tokens, webhooks
from vpnkeys.wire import limits as wire_limits
from vpnkeys.wire import traffic as wire_traffic
from vpnkeys.wire.audit import AuditRecord
from vpnkeys.wire.base import Answer, OneOf

_SOURCE = REPOSITORY / "src" / "vpnkeys"
_MOMENT = datetime(2031, 12, 31, 12, tzinfo=UTC)
_OF_A_NODE: dict[str, Any] = {"group": "eu", "address": "a.test", "max_keys": 1, "weight": 1}
_LIMITS: dict[str, Any] = {
    "is_active": True,
    "note": "n",
    "expires_at": _MOMENT,
    "expires_after_s": None,
    "traffic_limit_bytes": 1,
    "traffic_limit_window": "day",
    "max_devices": 1,
    "speed_limit_mbps": 1,
}
_ARGUMENTS: dict[str, Any] = {
    "id_or_uuid": "x",
    "id_or_name": "x",
    "tag": "x",
    "node": "x",
    "ids_or_uuids": ["x"],
    "subscription_id": "x",
    "token_id": "x",
    "webhook_id": "x",
    "name": "x",
    "keys": [{"name": "x", **_LIMITS}],
    "idempotency_key": "x",
    "days": 1,
    "uuid": True,
    "short_id": True,
    "sni": True,
    "since": _MOMENT,
    "until": _MOMENT,
    "step": "day",
    "scope": "read",
    "expires_at": _MOMENT,
    "overlap_hours": 1,
    "limit": 1,
    "before": 1,
    "after": "x",
    "search": "x",
    "to": "x",
    "subject": "x",
    "action": "key",
    "actor": "x",
    "outcome": "done",
    "url": "https://example.com/",
    "events": ["ping"],
    "is_active": False,
    "force": True,
}
"""A value for each parameter that a method of the client has."""

_NO_METHODS = {"close", "local", "over", "send"}
_FOR_BROWSERS = {"root", "sign_in", "get_session", "sign_out"}


def _operations() -> list[APIRoute]:
    """Return every operation of the OpenAPI document."""
    modules = [
        importlib.import_module(f"{routes.__name__}.{found.name}") for found in pkgutil.iter_modules(routes.__path__)
    ]
    found = [route for module in modules for route in module.router.routes if isinstance(route, APIRoute)]
    return [route for route in found if route.include_in_schema]


def _finish(result: object) -> None:
    if isgenerator(result):
        next(result)
    if isinstance(result, AbstractContextManager):
        result.__enter__()


def _asked() -> list[tuple[str, Any, httpx.Request]]:
    """Return every method of the client: its name, what it returns, and the request that it sends."""
    sent: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(404)

    client = Client.over(httpx.Client(base_url="http://test", transport=httpx.MockTransport(refuse)))
    parts = [part for part in vars(client).values() if type(part).__name__ != "Http"]
    found = []
    for owner in (client, *parts):
        for name, method in getmembers(type(owner), isfunction):
            if name.startswith("_") or name in _NO_METHODS:
                continue
            sent.clear()
            with suppress(ApiError):
                _finish(getattr(owner, name)(**_arguments(method)))
            [request] = sent
            returns = get_type_hints(method)["return"]
            answer = get_args(returns)[0] if get_origin(returns) is Call else returns
            # A page is the route's answer beside its Link header.
            body = get_type_hints(KeyPage)["keys"] if answer is KeyPage else answer
            found.append((f"{type(owner).__name__}.{name}", body, request))
    return found


def _arguments(method: Callable[..., Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, parameter in [*signature(method).parameters.items()][1:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            given |= _OF_A_NODE if "Node" in str(parameter.annotation) else _LIMITS
        else:
            given[name] = _ARGUMENTS[name]
    return given


def _route_of(request: httpx.Request, operations: list[APIRoute]) -> APIRoute:
    return next(
        route
        for route in operations
        if request.method in (route.methods or ()) and route.path_regex.fullmatch(request.url.path) is not None
    )


ASKED = _asked()


async def _asked_by_async() -> list[tuple[str, httpx.Request]]:
    """Return every method of the client for event loops, and the request that it sends."""
    sent: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(404)

    found = []
    http = httpx.AsyncClient(base_url="http://test", transport=httpx.MockTransport(refuse))
    async with AsyncClient.over(http) as client:
        parts = [part for part in vars(client).values() if type(part).__name__ != "AsyncHttp"]
        for owner in (client, *parts):
            for name, method in getmembers(type(owner), isfunction):
                if name.startswith("_") or name in _NO_METHODS:
                    continue
                sent.clear()
                result = getattr(owner, name)(**_arguments(method))
                with suppress(ApiError):
                    await _finish_async(result)
                [request] = sent
                found.append((f"{type(owner).__name__.removeprefix('Async')}.{name}", request))
    return found


async def _finish_async(result: Any) -> None:  # noqa: ANN401 - of any method
    if isinstance(result, AbstractAsyncContextManager):
        await result.__aenter__()
    elif isasyncgen(result):
        await anext(result)
    else:
        await result


def test_both_clients_send_the_same_requests() -> None:
    """Every method is there twice: the same path, parameters, headers and body."""

    def shown(request: httpx.Request) -> tuple[str, str, bytes, dict[str, str]]:
        return request.method, str(request.url), request.content, dict(request.headers)

    asynchronous = {name: shown(request) for name, request in asyncio.run(_asked_by_async())}
    assert asynchronous == {name: shown(request) for name, _, request in ASKED}
    assert len(asynchronous) > 50


@pytest.mark.parametrize(("returns", "request_"), [pytest.param(*rest, id=name) for name, *rest in ASKED])
def test_a_method_returns_what_the_route_answers(returns: object, request_: httpx.Request) -> None:
    """It is the same class on both sides; what is no JSON is text, bytes or events."""
    route = _route_of(request_, _operations())
    if route.response_model is None:
        assert not _models_in(returns)
    else:
        assert returns == route.response_model
        assert all(issubclass(model, Answer) for model in _models_in(returns))


def test_every_operation_has_a_method() -> None:
    """Only what browsers need has none: their session, and the root, which leads them to the dashboard."""
    operations = _operations()
    asked = {_route_of(request, operations).endpoint.__name__ for _, _, request in ASKED}
    assert {route.endpoint.__name__ for route in operations} - asked == _FOR_BROWSERS


@pytest.mark.parametrize("request_", [pytest.param(sent, id=name) for name, _, sent in ASKED if sent.content])
def test_a_method_sends_the_body_that_the_route_takes(request_: httpx.Request) -> None:
    """Every name that the client sends is a field of the body, and every value is accepted."""
    body = _route_of(request_, _operations()).body_field
    assert body is not None
    model = body.field_info.annotation
    assert isinstance(model, type)
    assert issubclass(model, base.Body | base.StrictBody)
    sent = json.loads(request_.content)
    assert sent.keys() <= model.model_fields.keys()
    assert model.model_validate(sent).model_fields_set == sent.keys()


@pytest.mark.parametrize(("arguments", "body"), [(NewKey, keys.NewKey), (KeyFields, keys.KeyChange)])
def test_arguments_about_keys_are_the_fields_of_the_body(arguments: type, body: type[BaseModel]) -> None:
    """Whatever can be decided about a key is an argument, of the same type."""
    assert get_type_hints(arguments) == get_type_hints(body)


@pytest.mark.parametrize(
    ("words", "known"),
    [
        (get_args(tokens.Scope), token.Scope),
        (get_args(webhooks.Kind), event.Kind),
        (get_args(wire_traffic.Step), traffic.Step),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_words_in_requests_are_those_of_the_product(words: tuple[str, ...], known: type[StrEnum]) -> None:
    """No word is missing on either side."""
    assert words == tuple(known)


def test_windows_have_one_form() -> None:
    """What a request may say is what the product knows."""
    assert wire_limits.WINDOW_FORM == window.WINDOW_FORM


@pytest.mark.parametrize(
    ("model", "field", "known"),
    [
        (keys.Key, "status", limits.Status),
        (AuditRecord, "outcome", audit.Outcome),
        (tokens.Token, "scope", token.Scope),
        (webhooks.Delivery, "event", event.Kind),
        (wire_traffic.TrafficHistory, "step", traffic.Step),
    ],
)
def test_words_in_answers_are_those_of_the_product(model: type[Answer], field: str, known: type[StrEnum]) -> None:
    """The document lists every word that the product has."""
    [one_of] = [part for part in model.model_fields[field].metadata if isinstance(part, OneOf)]
    assert one_of.words == tuple(known)


def test_bounds_are_those_of_the_product() -> None:
    """What the document promises is what is checked."""
    assert (base.NAME_MAX_CHARS, keys.NOTE_MAX_CHARS) == (naming.NAME_MAX_CHARS, naming.NOTE_MAX_CHARS)
    assert webhooks.URL_MAX_CHARS == webhook.URL_MAX_CHARS


@pytest.mark.parametrize(
    ("package", "others"), [("wire", {"pydantic", "pydantic_core"}), ("client", {"pydantic", "httpx"})]
)
def test_bots_need_no_server(package: str, others: set[str]) -> None:
    """`wire` is written with pydantic alone, `client` with pydantic and httpx."""
    ours = {"vpnkeys"}
    found = {
        name.partition(".")[0] for file in (_SOURCE / package).rglob("*.py") for name in _imports(file.read_text())
    }
    assert found - ours - sys.stdlib_module_names == others
    code = "import sys, vpnkeys.client; print(*(name for name in sys.modules if name.startswith('vpnkeys.')))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {name.split(".")[1] for name in loaded} == {"client", "wire"}


def _imports(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def _models_in(kind: object) -> list[type[BaseModel]]:
    if get_origin(kind) is not None:
        return [model for part in get_args(kind) for model in _models_in(part)]
    return [kind] if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _answers(kind: type[Answer] = Answer) -> Iterator[type[Answer]]:
    for model in kind.__subclasses__():
        yield model
        yield from _answers(model)


@pytest.mark.parametrize("model", list(_answers()), ids=lambda model: model.__name__)
def test_the_document_says_what_this_server_sends(model: type[Answer]) -> None:
    """Every field is there, and none is said to have a default."""
    schema = model.model_json_schema(mode="serialization")
    assert set(schema["required"]) == set(schema["properties"])
    assert "additionalProperties" not in schema
    assert not [name for name, field in schema["properties"].items() if "default" in field]
