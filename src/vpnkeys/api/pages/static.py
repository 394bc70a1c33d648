"""Serves files of this package as pages: from closed tables, sent to each browser once, nothing of another origin."""

import gzip
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Annotated, NamedTuple

from fastapi import Header, Response
from starlette.exceptions import HTTPException

from vpnkeys.api.pages.entity_tag import has, tag_of

IfNoneMatch = Annotated[str, Header(alias="If-None-Match")]
AcceptEncoding = Annotated[str, Header(alias="Accept-Encoding")]

ASK_EACH_TIME = "no-cache"
"""Browsers keep the file and ask each time whether it changed: after an upgrade none shows half of the old page."""

_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Encoding",
}
_PACKED_ALREADY = ("image/png", "font/woff2")


class Asset(NamedTuple):
    """A file ready to be sent: its bytes, its entity tag, and whether they are packed."""

    content: bytes
    tag: str
    packed: bool = False


@cache
def _asset(content: bytes, media_type: str, *, pack: bool) -> Asset:
    """Return a file ready to be sent. Plain and packed are two representations, with a tag each; both are kept."""
    packed = pack and media_type not in _PACKED_ALREADY
    content = gzip.compress(content, mtime=0) if packed else content
    return Asset(content, tag_of(content), packed)


class StaticFiles:
    """The files of one page, and no others: what a browser asks for is looked up here, never joined to a path."""

    def __init__(self, contents: Mapping[str, bytes], media_types: Mapping[str, str], policy: str) -> None:
        """Take the bytes and the media type of each file by name, and the Content-Security-Policy of all."""
        self._contents = dict(contents)
        self._media_types = dict(media_types)
        self._headers = {"Content-Security-Policy": policy, **_HEADERS}

    def answer(self, name: str, if_none_match: str, accept_encoding: str, *, caching: str = ASK_EACH_TIME) -> Response:
        """Return a file, or 304 when the browser has it. Raises HTTPException (404)."""
        if name not in self._contents:
            raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such file.")
        media_type = self._media_types[name]
        asset = _asset(self._contents[name], media_type, pack=_takes_gzip(accept_encoding))
        headers = {**self._headers, "Cache-Control": caching, "ETag": asset.tag}
        if has(if_none_match, asset.tag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        if asset.packed:
            headers["Content-Encoding"] = "gzip"
        return Response(asset.content, headers=headers, media_type=media_type)


def read(folder: str, name: str) -> bytes:
    """Return a file of a folder of this package's web pages."""
    return files("vpnkeys").joinpath("web", folder, *name.split("/")).read_bytes()


def _takes_gzip(accept_encoding: str) -> bool:
    offers = [offer.replace(" ", "").lower() for offer in accept_encoding.split(",")]
    return any(offer.split(";")[0] == "gzip" and not offer.endswith((";q=0", ";q=0.0")) for offer in offers)
