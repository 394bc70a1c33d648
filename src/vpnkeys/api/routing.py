"""Defines routes that check their callers before anything else, and the dispatcher of plain routes.

A plain route's handler is called with the request and the path's parameters, without the framework's middlewares,
dependencies and models, which cost several times what such an answer does (docs/adr/0012-plain-routes.md).
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute, APIRouter
from starlette.datastructures import QueryParams
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from vpnkeys.api import errors
from vpnkeys.api.auth.access import AccessControl, Endpoint, needs_of
from vpnkeys.api.errors import UnknownParameter
from vpnkeys.api.problems import problems
from vpnkeys.domain.errors import WaitsElsewhere
from vpnkeys.server.pools import Pool
from vpnkeys.wire.unknown import field_meant, refusal

SECURITY: list[dict[str, list[str]]] = [{"APIKeyHeader": []}, {"HTTPBearer": []}]
"""How OpenAPI names the ways to authenticate; `SECURITY_SCHEMES` says what they are."""

SECURITY_SCHEMES = {
    "APIKeyHeader": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "HTTPBearer": {"type": "http", "scheme": "bearer"},
}


class ApiRoute(APIRoute):
    """Is a route that checks its callers, by the framework and by the dispatcher alike."""

    in_thread = True
    """Whether a function that is no coroutine is called in a thread."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:  # noqa: ANN401 - FastAPI's own
        self.needs = needs_of(endpoint)
        if self.needs.scope is not None:
            # Whatever it takes: a header with credentials may be there twice (`api/headers.py`).
            more["responses"] = {**problems(400), **(more.get("responses") or {})}
            more["openapi_extra"] = {"security": SECURITY, **(more.get("openapi_extra") or {})}
        super().__init__(path, self.needs.pool.wrap(endpoint) if self.in_thread else endpoint, **more)
        asked = (self.dependant, *self.dependant.dependencies)
        self._parameters = frozenset(field.alias for part in asked for field in part.query_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for this path; a method that it does not have is answered with 405."""
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        # Until the answer has been sent: a stream takes its share for as long as it lasts.
        with self.admit(scope).taken(self.needs, scope):
            await super().handle(scope, receive, send)

    def admit(self, scope: Scope) -> AccessControl:
        """Check the caller. Raises what `AccessControl.admit` raises, and UnknownParameter."""
        access: AccessControl = scope["app"].state.access_control
        access.admit(self.needs, scope)
        if scope["query_string"] and self.needs.scope is not None:
            self._refuse_what_is_close(QueryParams(scope["query_string"]))
        return access

    def _refuse_what_is_close(self, given: QueryParams) -> None:
        """Refuse a parameter that is close to a known one: `?nam=x` must not be answered with all keys."""
        unknown = [name for name in given if name not in self._parameters]
        fields = sorted(self._parameters)
        if unknown and (sentence := refusal(unknown, lambda name: field_meant(name, fields, {}))):
            raise UnknownParameter(sentence)


class PlainRoute(ApiRoute):
    """Is a route whose handler returns the answer itself: a coroutine, or a plain function that waits for nothing.

    Where that needs what only a database elsewhere knows, it is called once more, in a thread.

    The framework uses its signature only for the OpenAPI document; nothing is validated or converted. Parameters of the
    query that it has are given to it as text.
    """

    in_thread = False

    async def answer(self, scope: Scope, receive: Receive) -> Response:
        """Return the answer. Raises what `AccessControl.admit` and the handler raise."""
        self.admit(scope)
        try:
            answer = self._answer(scope, receive)
        except WaitsElsewhere:  # seldom: what is asked for again is in memory
            answer = await Pool.QUICK.run(self._answer, scope, receive)
        return answer if isinstance(answer, Response) else await answer

    def _answer(self, scope: Scope, receive: Receive) -> Response | Awaitable[Response]:
        asked = QueryParams(scope["query_string"]) if scope["query_string"] and self._parameters else {}
        given = {name: value for name, value in asked.items() if name in self._parameters}
        answer: Response | Awaitable[Response] = self.endpoint(Request(scope, receive), **scope["path_params"], **given)
        return answer

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that came through the framework."""
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
        else:
            await (await self.answer(scope, receive))(scope, receive, send)


class ApiRouter(APIRouter):
    """Collects the routes of one part of the API."""

    def __init__(self, **more: Any) -> None:  # noqa: ANN401 - FastAPI's own
        # JSON without a Content-Type is taken, as by servers of version 2.3. Another site can make a browser send it,
        # but only with the browser's session, which changes nothing without its CSRF token.
        super().__init__(**{"route_class": ApiRoute, "strict_content_type": False, **more})

    def plain(
        self,
        path: str,
        *,
        response_model: object = None,
        responses: dict[int | str, dict[str, Any]] | None = None,
        method: str = "GET",
    ) -> Callable[[Endpoint], Endpoint]:
        """Add a plain route; the other arguments say in the OpenAPI document what its answers are."""

        def add(endpoint: Endpoint) -> Endpoint:
            self.add_api_route(
                path,
                endpoint,
                methods=[method],
                response_model=response_model,
                responses=responses,
                route_class_override=PlainRoute,
            )
            return endpoint

        return add


class _Entry(NamedTuple):
    pattern: re.Pattern[str]
    route: Route


class Dispatcher:
    """Sends requests for plain routes straight to them, and all others through the framework.

    Its table has all routes in the framework's order, also those that are not plain: one of them may match first.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._by_method = _by_method(app.routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        route = self._find(scope) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
        else:
            await (await self._answer(route, scope, receive))(scope, receive, send)

    def _find(self, scope: Scope) -> PlainRoute | None:
        """Return the plain route that a request is for, and note it in the scope; None for any other route."""
        for pattern, route in self._by_method.get(scope["method"], ()):
            if match := pattern.match(scope["path"]):
                # The framework serves it, with validation and conversion of what was sent.
                if not isinstance(route, PlainRoute):
                    return None
                scope.update(app=self._app, route=route, path_params=match.groupdict())
                return route
        return None

    async def _answer(self, route: PlainRoute, scope: Scope, receive: Receive) -> ASGIApp:
        try:
            return await route.answer(scope, receive)
        except Exception as error:  # noqa: BLE001 - as the framework does for other routes
            return errors.answer(error)


def _by_method(routes: Iterable[BaseRoute]) -> dict[str, list[_Entry]]:
    table: dict[str, list[_Entry]] = {}
    for route in routes:
        if isinstance(route, Route):
            for method in route.methods or ():
                table.setdefault(method, []).append(_Entry(route.path_regex, route))
    return table
