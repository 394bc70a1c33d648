"""Describes in OpenAPI the errors that a route may answer with."""

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
# By reference: as a model it would be generated anew for each of the groups of routes, at every start.
_REFERENCE = {"$ref": f"#/components/schemas/{Problem.__name__}"}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may answer with these statuses."""
    return {
        status: {"description": _WORDS[status], "content": {"application/problem+json": {"schema": _REFERENCE}}}
        for status in statuses
    }


def schemas() -> dict[str, Any]:
    """Return the schema that all problems refer to, by its name."""
    return {Problem.__name__: Problem.model_json_schema(mode="serialization")}
