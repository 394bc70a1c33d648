"""Redirects a path to the same one with a slash at its end, or without, where that one is served.

The redirect is relative (RFC 9110, 10.2.2): the header Host, which anybody can forge, is not in it, and it stays below
the prefix of a proxy in front.
"""

from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Match
from starlette.types import Scope


def to_other_spelling(scope: Scope, routes: list[BaseRoute]) -> RedirectResponse | None:
    """Return a redirect to the other spelling of a path that no route has; None when none has that one either."""
    path: str = scope["path"]
    if "route" in scope or path.endswith("//"):
        return None
    has_slash = path.endswith("/")
    other = {**scope, "path": path[:-1] if has_slash else f"{path}/"}
    if all(route.matches(other)[0] is Match.NONE for route in routes):
        return None
    last = scope["raw_path"].decode("latin-1").removesuffix("/").rpartition("/")[2]
    query = scope["query_string"].decode("latin-1")
    # "./", because a name with a colon would be taken for a scheme.
    there = f"../{last}" if has_slash else f"./{last}/"
    return RedirectResponse(f"{there}?{query}" if query else there)
