"""The API described to programs (`/openapi.json`) and to people (`/docs`).

Everything the page needs comes from this package: it works without the internet, and tells nobody that it was read.
Both are open: they say what any installation could do, and nothing of what this one holds.
"""

import gzip
import hashlib
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, FastAPI, Header, Path, Response
from starlette.exceptions import HTTPException

router = APIRouter(include_in_schema=False)

_MEDIA_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
"""The files of the page, and no others: what a browser asks for is looked up here, never joined to a path."""

# data: because Swagger UI's style sheet has its icons in itself.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_HEADERS = {
    "Content-Security-Policy": _PAGE_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Kept by browsers, and asked after each time: after an upgrade nobody sees half of the old page.
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}


class DescribedApi(FastAPI):
    """An application whose description says what it really answers."""

    def openapi(self) -> dict[str, Any]:
        """OpenAPI 3.1. FastAPI promises 422 wherever there is something to check; this API answers 400."""
        if self.openapi_schema is None:
            schema = super().openapi()
            for path in schema["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
            for unused in ("HTTPValidationError", "ValidationError"):
                schema.get("components", {}).get("schemas", {}).pop(unused, None)
        return super().openapi()


class _Asset(NamedTuple):
    """A file of the page, ready to be sent."""

    content: bytes
    tag: str


@cache
def _asset(name: str, *, packed: bool) -> _Asset:
    """Plain and packed are two representations, with a tag each. Both are small enough to be kept."""
    content = files("vpnkeys").joinpath("web", "docs", name).read_bytes()
    content = gzip.compress(content, mtime=0) if packed else content
    return _Asset(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


IfNoneMatch = Annotated[str, Header(alias="If-None-Match")]
AcceptEncoding = Annotated[str, Header(alias="Accept-Encoding")]


@router.get("/docs")
def page(if_none_match: IfNoneMatch = "", accept_encoding: AcceptEncoding = "") -> Response:
    """The page."""
    return _answer("index.html", if_none_match, accept_encoding)


@router.get("/docs/{name}")
def page_file(
    name: Annotated[str, Path()], if_none_match: IfNoneMatch = "", accept_encoding: AcceptEncoding = ""
) -> Response:
    """What the page consists of."""
    if name not in _MEDIA_TYPES or name == "index.html":
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such file.")
    return _answer(name, if_none_match, accept_encoding)


def _answer(name: str, if_none_match: str, accept_encoding: str) -> Response:
    packed = _takes_gzip(accept_encoding)
    content, tag = _asset(name, packed=packed)
    headers = {**_HEADERS, "ETag": tag}
    if tag in [known.strip().removeprefix("W/") for known in if_none_match.split(",")]:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if packed:
        headers["Content-Encoding"] = "gzip"
    return Response(content, headers=headers, media_type=_MEDIA_TYPES[name])


def _takes_gzip(accept_encoding: str) -> bool:
    offers = [offer.replace(" ", "").lower() for offer in accept_encoding.split(",")]
    return any(offer.split(";")[0] == "gzip" and not offer.endswith((";q=0", ";q=0.0")) for offer in offers)
