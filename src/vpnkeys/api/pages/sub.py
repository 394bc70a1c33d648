"""Answers `/sub/{token}` with a customer's subscription, in the format of the client; unknown tokens get 404.

Headers that clients read: `subscription-userinfo` (bytes, and Unix seconds), `profile-update-interval` (hours) and
`profile-title`, as clients of Clash and sing-box read them. A limit that a key does not have is left out.
"""

import base64
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
from vpnkeys.api.pages.sub_page import POLICY, Access, render_page
from vpnkeys.api.pages.sub_words import words_for
from vpnkeys.api.routing import ApiRouter
from vpnkeys.api.services import Services
from vpnkeys.domain.key import Key
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
    key = services.subscriptions.find(token)
    if key is None:
        access.limits.count_failure(address_of(request.scope))
        raise HTTPException(HTTPStatus.NOT_FOUND)
    # In a thread: it reads the traffic from the database and may draw a QR code.
    return await Pool.OPEN.run(_answer, request, services, key, token, wanted)


@router.api_route("/sub/{token}", methods=["DELETE", "OPTIONS", "PATCH", "POST", "PUT"])
@router.api_route("/sub/{token}/", methods=["DELETE", "OPTIONS", "PATCH", "POST", "PUT"])
@public
async def nothing_here() -> None:
    """Answer 404 as for an unknown path, because a 405 would show that subscriptions are served here."""
    raise HTTPException(HTTPStatus.NOT_FOUND)


def _answer(request: Request, services: Services, key: Key, token: str, wanted: str | None) -> Response:
    asker = Asker(request.headers.get("user-agent", ""), request.headers.get("accept", ""))
    form = choose(wanted, asker)
    used = services.subscriptions.used_bytes(key)
    if form is Format.HTML:
        access = Access(key, services.keys.link(key), services.subscriptions.url(token), used)
        words = words_for(request.headers.get("accept-language", ""))
        document = Document(render_page(access, words), "text/html; charset=utf-8")
    else:
        document = write(form, key, services.site(), asker)
    content = document.text.encode()
    tag = tag_of(content)
    headers = {**_HEADERS, **_profile(key, used), "ETag": tag}
    if form is not Format.HTML:
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(_file_name(key.name), safe='')}"
    if has(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(content, headers=headers, media_type=document.media_type)


def _profile(key: Key, used_bytes: int) -> dict[str, str]:
    """Return the headers that clients show beside a subscription.

    All bytes are given as download: clients add up both directions, and of imported bytes only the sum is known.
    """
    limits = key.limits
    info = [f"upload=0; download={used_bytes}"]
    if limits.traffic_bytes is not None:
        info.append(f"total={limits.traffic_bytes}")
    if limits.expires_at is not None:
        info.append(f"expire={int(limits.expires_at.replace(tzinfo=UTC).timestamp())}")
    return {
        "Subscription-Userinfo": "; ".join(info),
        "Profile-Update-Interval": _UPDATE_EVERY_HOURS,
        "Profile-Title": f"base64:{base64.b64encode(key.name.encode()).decode()}",
    }


def _file_name(name: str) -> str:
    """Return a name that is a valid file name on every system, neither hidden nor in another directory."""
    safe = "".join(char if char.isalnum() or char in _FILE_NAME_MARKS else "_" for char in name)
    return safe.strip(". ") or "vpn"
