"""How OpenAPI tells of the errors that a route may answer with."""

from typing import Any

from vpnkeys.api.errors import Problem

_WORDS = {
    400: "The request cannot be granted as it stands",
    401: "The API key is missing or wrong",
    404: "There is no such key",
    429: "Too many requests; Retry-After says when there is room again",
    500: "Something unexpected went wrong",
    503: "Xray or the database does not answer; nothing was changed",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route."""
    schema = Problem.model_json_schema()
    return {
        status: {"description": _WORDS[status], "content": {"application/problem+json": {"schema": schema}}}
        for status in statuses
    }
