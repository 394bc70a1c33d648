"""Serves the dashboard at `/ui/`, under a policy that forbids all that the page does not need.

The files are open to all, like any sign-in form; all data comes from the API, with the session of the user.
"""

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import Response

from vpnkeys.api.auth.access import public
from vpnkeys.api.pages.static import AcceptEncoding, IfNoneMatch, StaticFiles
from vpnkeys.api.routing import ApiRouter
from vpnkeys.service.health.codes import TROUBLES
from vpnkeys.service.health.russian import IN_RUSSIAN

router = ApiRouter(include_in_schema=False)

_MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "webmanifest": "application/manifest+json",
    "woff2": "font/woff2",
}

# Trusted Types: no script can turn text into markup, which would let a key's name become code. The page never does.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_EDITION = b"@EDITION@"
_FOR_EVER = "public, max-age=31536000, immutable"
_PROBLEMS = "i18n/problems.json"


def _walk(folder: Traversable, above: str = "") -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _walk(entry, f"{above}{entry.name}/")
        elif entry.name.rpartition(".")[2] in _MEDIA_TYPES:
            yield f"{above}{entry.name}", entry.read_bytes()


def _problem_texts() -> bytes:
    """Return what each problem of `/health` means and what to do about it, in the languages of the dashboard."""
    texts = {
        code: {"en": {"says": trouble.says, "cure": trouble.cure}, "ru": IN_RUSSIAN[code]._asdict()}
        for code, trouble in TROUBLES.items()
    }
    return json.dumps(texts, ensure_ascii=False).encode()


@cache
def _files() -> StaticFiles:
    """Return the files. Names begin with the edition, a digest of all files, so that a name's content never changes."""
    contents = dict(_walk(files("vpnkeys").joinpath("web", "ui"))) | {_PROBLEMS: _problem_texts()}
    edition = hashlib.sha256(repr(sorted(contents.items())).encode()).hexdigest()[:12]
    page = contents.pop("index.html").replace(_EDITION, edition.encode())
    named = {"": page} | {f"{edition}/{name}": content for name, content in contents.items()}
    types = {name: _MEDIA_TYPES[name.rpartition(".")[2] or "html"] for name in named}
    return StaticFiles(named, types, _POLICY)


@router.get("/ui/")
@public
async def page(if_none_match: IfNoneMatch = "", accept_encoding: AcceptEncoding = "") -> Response:
    """Return the page."""
    return _files().answer("", if_none_match, accept_encoding)


@router.get("/ui/{name:path}")
@public
async def page_file(name: str, if_none_match: IfNoneMatch = "", accept_encoding: AcceptEncoding = "") -> Response:
    """Return a file of the page. Browsers keep it for good, because another edition has other names."""
    return _files().answer(name, if_none_match, accept_encoding, caching=_FOR_EVER)
