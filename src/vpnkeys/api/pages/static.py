"""Serves files of this package as pages: from closed tables, without anything of another origin."""

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
"""Browsers keep the file and ask each time whether it changed, so that none mixes files of two versions."""

_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Encoding",
}
# Compressed formats: gzip would make them no smaller.
_PACKED_ALREADY = ("image/png", "font/woff2")


class Asset(NamedTuple):
    """Holds a file ready to be sent: its bytes, its entity tag, and whether the bytes are compressed."""

    content: bytes
    tag: str
    packed: bool = False


@cache
def _asset(content: bytes, media_type: str, *, pack: bool) -> Asset:
    """Return a file ready to be sent. Plain and compressed are two representations with a tag each; both are kept.

    The compressed bytes have no time in them (`mtime=0`), so that their tag stays the same over a restart.
    """
    packed = pack and media_type not in _PACKED_ALREADY
    content = gzip.compress(content, mtime=0) if packed else content
    return Asset(content, tag_of(content), packed)


class StaticFiles:
    """Serves the files of one page and no others: a requested name is looked up in a table, never joined to a path."""

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
    """Return the bytes of a file in a folder of this package's web pages."""
    return files("vpnkeys").joinpath("web", folder, *name.split("/")).read_bytes()


def _takes_gzip(accept_encoding: str) -> bool:
    offers = [offer.replace(" ", "").lower() for offer in accept_encoding.split(",")]
    return any(offer.split(";")[0] == "gzip" and not offer.endswith((";q=0", ";q=0.0")) for offer in offers)
