"""Serves `/api/keys/{key_id}/qr.svg`: a key's link as a picture."""

import io

from fastapi import Response

from vpnkeys.api.auth.access import requires
from vpnkeys.api.deps import KeyDep, KeysDep
from vpnkeys.api.problems import problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.domain.token import Scope

router = ApiRouter(prefix="/api/keys", tags=["keys"], responses=problems(401, 404, 429, 500, 503))


@router.get("/{key_id}/qr.svg", response_class=Response)
@requires(Scope.READ, limit="get")
def get_qr(key: KeyDep, keys: KeysDep) -> Response:
    """Return the link for a customer's camera, as SVG; dark on white, so that it can be read on any page."""
    import segno  # noqa: PLC0415 - most servers are never asked for one, and it is large

    picture = io.BytesIO()
    segno.make_qr(keys.link(key), error="m").save(
        picture, kind="svg", border=4, dark="#000", light="#fff", xmldecl=False, svgns=True
    )
    return Response(picture.getvalue(), media_type="image/svg+xml")
