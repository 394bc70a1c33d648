"""Turns all errors into answers, as `application/problem+json` (RFC 9457)."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from vpnkeys.api.redirects import to_other_spelling
from vpnkeys.domain.errors import NotFound, Rejected, Unavailable, VpnKeysError
from vpnkeys.domain.token import Scope
from vpnkeys.server.problem import problem

_log = logging.getLogger(__name__)

_RETRY_AFTER_S = "2"

_METHODS = ("DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT")

_STATUS: dict[type[VpnKeysError], HTTPStatus] = {
    NotFound: HTTPStatus.NOT_FOUND,
    Rejected: HTTPStatus.BAD_REQUEST,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}


class Unauthorized(Exception):
    """Says that the API key is missing or wrong."""


class ScopeTooSmall(Exception):
    """Says that a valid token's scope is too small. 401 and not 403: bots know a closed list of statuses."""

    def __init__(self, needed: Scope, given: Scope) -> None:
        super().__init__(f"This token has the scope {given}; this needs {needed}. Ask the operator for another.")


class TooManyRequests(Exception):
    """Says that a limit of the caller was reached, and that a request may be allowed again in `retry_after_s` s."""

    def __init__(
        self,
        retry_after_s: int,
        what: str = "Too many requests",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(f"{what}; ask again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s
        self.headers = {"Retry-After": str(retry_after_s), **headers}


class RepeatedHeader(Rejected):
    """Says that a header that may be sent once was sent more often."""

    code = "repeated_header"

    def __init__(self, name: str) -> None:
        super().__init__(f"The header {name} was sent more than once; send it once.")


class CredentialsDiffer(Rejected):
    """Says that a request shows two API keys or tokens."""

    code = "credentials_differ"

    def __init__(self) -> None:
        super().__init__("X-API-Key and Authorization have two different keys; send one of them.")


class UnknownParameter(Rejected):
    """Says that a parameter of the query is unknown, and close to one that this path has, or that many are unknown."""

    code = "invalid_request"


def install(app: FastAPI) -> None:
    """Make the app answer every error as a problem."""
    for kind in (VpnKeysError, Unauthorized, ScopeTooSmall, TooManyRequests, Exception):
        app.add_exception_handler(kind, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)


def answer(error: Exception) -> Response:
    """Return the answer to an error. One that is not ours is a bug: its trace goes only to the log."""
    match error:
        case VpnKeysError():
            status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
            headers = {"Retry-After": _RETRY_AFTER_S} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
            return problem(status, error.code, str(error), headers)
        case Unauthorized():
            detail = "The API key is missing or wrong; send it in the header X-API-Key."
            return problem(HTTPStatus.UNAUTHORIZED, "unauthorized", detail, {"WWW-Authenticate": "Bearer"})
        case ScopeTooSmall():
            challenge = {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
            return problem(HTTPStatus.UNAUTHORIZED, "insufficient_scope", str(error), challenge)
        case TooManyRequests():
            return problem(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", str(error), error.headers)
    _log.error("unexpected error while answering", exc_info=error)  # without the path: it may hold a key's id
    detail = "Something unexpected went wrong; the server's log has the details."
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", detail)


async def _on_error(_request: Request, error: Exception) -> Response:
    return answer(error)


async def _on_invalid_request(request: Request, error: Any) -> Response:  # noqa: ANN401 - Starlette's handler type
    """Answer 400 and not FastAPI's 422, which bots do not know. The input is not repeated: it may be long or secret."""
    faults = [f"{_field_of(fault['loc'])}: {fault['msg']}" for fault in error.errors()]
    # FastAPI does not parse a body of another media type, and its own message does not say so.
    if "json" not in request.headers.get("content-type", "json"):
        faults.append("send the body as JSON, with the header Content-Type: application/json")
    return problem(HTTPStatus.BAD_REQUEST, "invalid_request", "; ".join(faults))


async def _on_http_exception(request: Request, error: Any) -> Response:  # noqa: ANN401 - Starlette's handler type
    """Answer Starlette's own errors: no such path, wrong method, a body that cannot be parsed."""
    status = HTTPStatus(error.status_code)
    if status == HTTPStatus.NOT_FOUND and (elsewhere := to_other_spelling(request.scope, request.app.routes)):
        return elsewhere
    code = {HTTPStatus.NOT_FOUND: "not_found", HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed"}
    headers = dict(error.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_allowed_methods(request)))
    return problem(status, code.get(status, "invalid_request"), str(error.detail), headers)


def _allowed_methods(request: Request) -> set[str]:
    """Return all methods of this path; Starlette names only those of one route."""
    found = {
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] == Match.FULL for route in request.app.routes)
    }
    return found | {"HEAD"} if "GET" in found else found


def _field_of(location: tuple[int | str, ...]) -> str:
    """Return `("body", "name")` as `name`, the body itself as `body`; a JSON error's place is a character's number."""
    *_, last = location
    return "body" if isinstance(last, int) else str(last)
