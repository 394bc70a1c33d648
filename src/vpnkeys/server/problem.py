"""Errors as answers: `application/problem+json` (RFC 9457)."""

from http import HTTPStatus

from fastapi import Response
from pydantic import BaseModel

from vpnkeys.server.requests import current_request_id

_MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What went wrong. `code` is a stable word for programs, `detail` a sentence for people.

    `request_id` finds the request in the server's log.
    """

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    request_id: str = ""


def problem(status: HTTPStatus, code: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    """An answer that says what went wrong."""
    body = Problem(title=status.phrase, status=status, detail=detail, code=code, request_id=current_request_id())
    return Response(body.model_dump_json(), status, headers, _MEDIA_TYPE)
