"""Describes in OpenAPI the errors that a route may answer with, and the headers of answers."""

from collections.abc import Iterable
from typing import Any

from vpnkeys.wire.problem import Problem

_WORDS = {
    400: "The request cannot be granted as it stands",
    401: "The API key is missing or wrong",
    404: "There is no such key",
    429: "Too many requests; Retry-After says when there is room again",
    500: "Something unexpected went wrong",
    503: "Xray or the database does not answer; nothing was changed",
}
_HEADERS: dict[str, tuple[str, str | int]] = {
    "Link": ('leads to the next page, by `rel="next"`; the last page has none', '<?limit=1&after=7%2Cx9>; rel="next"'),
    "Retry-After": ("after how many seconds to ask again", 5),
    "WWW-Authenticate": ("how to authenticate", "Bearer"),
    "X-RateLimit-Limit": ("how many such requests the limit allows", 30),
    "X-RateLimit-Remaining": ("how many more of them now", 29),
    "X-RateLimit-Reset": ("when all of them are allowed again, Unix seconds", 1734883200),
    "X-Request-ID": ("the request in the log: the caller's own id, or one of the server", "3f1c0c526d3e4b7e"),
}
_OF_EVERY_ANSWER = ("X-Request-ID",)
_OF_PROBLEMS = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
    503: ("Retry-After",),
}

DESCRIBED_HEADERS = tuple(_HEADERS)
"""The headers of answers that the document names; pages of other origins may read them (`api/cors.py`)."""

# By reference: as a model it would be generated anew for each of the groups of routes, at every start.
_REFERENCE = {"$ref": f"#/components/schemas/{Problem.__name__}"}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may answer with these statuses."""
    return {
        status: {
            "description": _WORDS[status],
            "content": {"application/problem+json": {"schema": _REFERENCE}},
            "headers": _named(_OF_PROBLEMS.get(status, ())),
        }
        for status in statuses
    }


def answer_with(*headers: str) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route whose answer may have these headers."""
    return {200: {"headers": _named(headers)}}


def complete(document: dict[str, Any]) -> None:
    """Add to the document what all problems and headers refer to, and the headers that every answer has."""
    document["components"]["schemas"][Problem.__name__] = Problem.model_json_schema(mode="serialization")
    document["components"]["headers"] = {
        name: {
            "description": sentence,
            "schema": {"type": "integer" if isinstance(example, int) else "string"},
            "example": example,
        }
        for name, (sentence, example) in _HEADERS.items()
    }
    for operation in (one for path in document["paths"].values() for one in path.values()):
        for response in operation["responses"].values():
            response["headers"] = {**response.get("headers", {}), **_named(_OF_EVERY_ANSWER)}


def _named(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
