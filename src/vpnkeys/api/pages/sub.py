"""Answers `/sub/{token}` with a customer's subscription, in the format of the client; unknown tokens get 404.

Headers that clients read: `subscription-userinfo` (bytes, and Unix seconds), `profile-update-interval` (hours),
`profile-title`, `profile-web-page-url`, and what the operator set: `support-url` and `announce`. Hiddify shows usage
only when all four values of `subscription-userinfo` are there, so a limit that there is not is 0.
"""

import base64
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote

from fastapi import Query, Request, Response
from starlette.exceptions import HTTPException

from vpnkeys.api.auth.access import address_of, public
from vpnkeys.api.deps import AccessControlDep, ServicesDep
from vpnkeys.api.pages.entity_tag import has, tag_of
from vpnkeys.api.pages.sub_formats import Asker, Document, Format, choose, write
from vpnkeys.api.pages.sub_page import POLICY, Access, Visit, render_page
from vpnkeys.api.pages.sub_words import words_for, words_for_client
from vpnkeys.api.routing import ApiRouter
from vpnkeys.api.services import Services
from vpnkeys.domain.errors import Unavailable
from vpnkeys.domain.forms import entries_of
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import WindowUsage
from vpnkeys.domain.limits.source import source_of
from vpnkeys.domain.operator import Operator
from vpnkeys.server.pools import Pool

# Not in the OpenAPI document: it is for customers' clients only, and of no use without a token.
router = ApiRouter(include_in_schema=False)

_UPDATE_EVERY_HOURS = "12"
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept, Accept-Language, User-Agent",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}
_FILE_NAME_MARKS = "-_.@() "


@router.get("/sub/{token}")
@router.get("/sub/{token}/")
@public
async def get_subscription(
    token: str,
    request: Request,
    services: ServicesDep,
    access: AccessControlDep,
    wanted: Annotated[str | None, Query(alias="format")] = None,
) -> Response:
    """Return a subscription. The token is looked up first, so that an unknown one learns nothing from other errors."""
    keys = services.subscriptions.find(token)
    address = address_of(request.scope)
    if not keys:
        access.limits.count_failure(address)
        raise HTTPException(HTTPStatus.NOT_FOUND)
    # In a thread: it reads the traffic from the database and may draw a QR code.
    return await Pool.OPEN.run_for(source_of(address), _answer, request, services, keys, token, wanted)


@router.api_route("/sub/{token}", methods=["DELETE", "OPTIONS", "PATCH", "POST", "PUT"])
@router.api_route("/sub/{token}/", methods=["DELETE", "OPTIONS", "PATCH", "POST", "PUT"])
@public
async def nothing_here() -> None:
    """Answer 404 as for an unknown path, because a 405 would show that subscriptions are served here."""
    raise HTTPException(HTTPStatus.NOT_FOUND)


def _answer(request: Request, services: Services, keys: tuple[Key, ...], token: str, wanted: str | None) -> Response:
    asker = Asker(request.headers.get("user-agent", ""), request.headers.get("accept", ""))
    language = request.headers.get("accept-language", "")
    form = choose(wanted, asker)
    subscriptions, operator = services.subscriptions, services.subscriptions.operator
    address, title = subscriptions.url(token), operator.name or keys[0].name
    if form is Format.HTML:
        visit = Visit(address, operator, asker.user_agent, subscriptions.clock.now())
        accesses = [_access(services, key) for key in keys]
        document = Document(render_page(accesses, visit, words_for(language)), "text/html; charset=utf-8")
    else:
        words = words_for_client(asker.user_agent, language)
        document = write(form, entries_of(keys, words.reason), services.keys.site_of, asker)
    content = document.text.encode()
    tag = tag_of(content)
    usage = [services.traffic.usage.of(key) for key in keys]
    headers = {**_HEADERS, **_profile(keys, usage), **_operator(operator, title, address), "ETag": tag}
    if form is not Format.HTML:
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(_file_name(title), safe='')}"
    if has(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(content, headers=headers, media_type=document.media_type)


def _access(services: Services, key: Key) -> Access:
    devices = None
    if key.limits.max_devices is not None:
        with suppress(Unavailable):  # the page is of use without it
            devices = services.traffic.online(key).devices
    return Access(key, services.keys.link(key), services.traffic.usage.of(key), devices)


def _profile(keys: Sequence[Key], usage: Sequence[WindowUsage]) -> dict[str, str]:
    """Return the headers about traffic and time; `total` and `download` are of the present windows of all keys.

    All bytes are given as download: clients add up both directions, and of imported bytes only the sum is known. The
    last of the keys to expire ends a subscription; 0 is no limit.
    """
    used = sum(one.used_bytes or 0 for one in usage)
    totals = [key.limits.traffic_bytes for key in keys]
    ends = [key.limits.expires_at for key in keys]
    total = 0 if None in totals else sum(total for total in totals if total is not None)
    end = 0 if None in ends else max(int(end.replace(tzinfo=UTC).timestamp()) for end in ends if end is not None)
    return {
        "Subscription-Userinfo": f"upload=0; download={used}; total={total}; expire={end}",
        "Profile-Update-Interval": _UPDATE_EVERY_HOURS,
    }


def _operator(operator: Operator, title: str, address: str) -> dict[str, str]:
    """Return the headers by which clients show whose subscription it is, and where to ask."""
    headers = {"Profile-Title": _in_base64(title), "Profile-Web-Page-Url": address}
    if operator.support_url:
        headers["Support-Url"] = operator.support_url
    if operator.announcement:
        headers["Announce"] = _in_base64(operator.announcement)
    return headers


def _in_base64(text: str) -> str:
    """Return a text as clients read it from a header, which has no letters but ASCII's."""
    return f"base64:{base64.b64encode(text.encode()).decode()}"


def _file_name(name: str) -> str:
    """Return a name that is a valid file name on every system, neither hidden nor in another directory."""
    safe = "".join(char if char.isalnum() or char in _FILE_NAME_MARKS else "_" for char in name)
    return safe.strip(". ") or "vpn"
