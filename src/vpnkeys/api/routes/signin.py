"""Serves `/ui/session`: signs a browser in with a token, and out."""

from fastapi import Request, Response

from vpnkeys.api.auth.access import public, requires
from vpnkeys.api.auth.credentials import COOKIE
from vpnkeys.api.auth.sessions import Session
from vpnkeys.api.deps import AccessControlDep
from vpnkeys.api.errors import Unauthorized
from vpnkeys.api.problems import problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.domain.token import Scope
from vpnkeys.wire.sessions import SignedIn, SignedOut, SignIn

# Read as JSON without a Content-Type, another site could sign a browser in with a token of its own.
router = ApiRouter(
    prefix="/ui/session", tags=["sign-in"], responses=problems(400, 401, 429, 500), strict_content_type=True
)


@router.post("")
@public
async def sign_in(given: SignIn, request: Request, response: Response, access: AccessControlDep) -> SignedIn:
    """Exchange a token for a session cookie that no script can read."""
    cookie, session = access.sessions.open(access.recognise(given.token, request.scope))
    response.set_cookie(COOKIE, cookie, path="/", secure=True, httponly=True, samesite="strict")
    return _answer(session)


@router.get("")
@requires(Scope.READ)
async def get_session(request: Request, access: AccessControlDep) -> SignedIn:
    """Return who is signed in; 401 without a session."""
    session = access.sessions.find(request.cookies.get(COOKIE, ""))
    if session is None:
        raise Unauthorized
    return _answer(session)


@router.delete("")
@requires(Scope.READ)
async def sign_out(request: Request, response: Response, access: AccessControlDep) -> SignedOut:
    """End the session."""
    access.sessions.close(request.cookies.get(COOKIE, ""))
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    return SignedOut(message="Signed out")


def _answer(session: Session) -> SignedIn:
    who = session.identity
    return SignedIn(csrf=session.csrf, id=who.id, name=who.name, scope=who.scope)
