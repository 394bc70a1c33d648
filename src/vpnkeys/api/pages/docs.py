"""Describes the API to programs (`/openapi.json`) and to people (`/docs`).

Everything the page needs comes from this package: it works without the internet, and no other server learns that it
was read. Both are open to all: they describe any installation, and show nothing of this one.
"""

from functools import cache
from http import HTTPStatus
from typing import Annotated, Any

import orjson
from fastapi import FastAPI, Path, Request, Response
from starlette.exceptions import HTTPException

from vpnkeys.api import problems
from vpnkeys.api.auth.access import public
from vpnkeys.api.pages.described import complete
from vpnkeys.api.pages.static import AcceptEncoding, IfNoneMatch, StaticFiles, read
from vpnkeys.api.routing import SECURITY_SCHEMES, ApiRouter
from vpnkeys.server.pools import Pool, SharedCall

router = ApiRouter(include_in_schema=False)

_MEDIA_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}

# "data:", because Swagger UI's style sheet contains its icons.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@cache
def _files() -> StaticFiles:
    """Return the page's files. They are read at the first request: two megabytes that most servers never show."""
    return StaticFiles({name: read("docs", name) for name in _MEDIA_TYPES}, _MEDIA_TYPES, _PAGE_POLICY)


class DescribedApi(FastAPI):
    """Describes itself in OpenAPI as it answers."""

    def setup(self) -> None:
        """Serve the document. FastAPI would make it in the event loop, where nobody else is answered for a second."""
        making, made = SharedCall(Pool.OPEN, lambda: orjson.dumps(self.openapi())), list[bytes]()

        async def serve(_request: Request) -> Response:
            if not made:
                made.append(await making.result())
            return Response(made[0], media_type="application/json")

        self.add_route("/openapi.json", serve, include_in_schema=False)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document. FastAPI adds 422 to each route with input; this API answers 400 instead."""
        if self.openapi_schema is None:
            schema = super().openapi()
            for path in schema["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
            schema["components"]["securitySchemes"] = SECURITY_SCHEMES
            described = schema["components"]["schemas"]
            for unused in ("HTTPValidationError", "ValidationError"):
                described.pop(unused, None)
            problems.complete(schema)
            complete(schema)
        return super().openapi()


@router.get("/docs")
@public
def page(if_none_match: IfNoneMatch = "", accept_encoding: AcceptEncoding = "") -> Response:
    """Return the page."""
    return _files().answer("index.html", if_none_match, accept_encoding)


@router.get("/docs/{name}")
@public
def page_file(
    name: Annotated[str, Path()], if_none_match: IfNoneMatch = "", accept_encoding: AcceptEncoding = ""
) -> Response:
    """Return a file of the page. The page itself is not one of them: it has its own address, `/docs`."""
    if name == "index.html":
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such file.")
    return _files().answer(name, if_none_match, accept_encoding)
