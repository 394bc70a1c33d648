"""Writes errors as answers, `application/problem+json` (RFC 9457)."""

from http import HTTPStatus

from fastapi import Response

from vpnkeys.server.requests import current_request_id
from vpnkeys.wire.problem import Problem

_MEDIA_TYPE = "application/problem+json"


def problem(status: HTTPStatus, code: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Return a problem document: `code` for programs, `detail` for people, and the id of the request."""
    body = Problem(title=status.phrase, status=status, detail=detail, code=code, request_id=current_request_id())
    return Response(body.model_dump_json(), status, headers, _MEDIA_TYPE)
