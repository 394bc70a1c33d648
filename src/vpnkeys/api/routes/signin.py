"""`/ui/session`: a browser signs in with a token, and out."""

from fastapi import APIRouter, Request, Response

from vpnkeys.api.auth.sessions import COOKIE, Session, Sessions
from vpnkeys.api.deps import IdentityDep, ServerDep, recognised
from vpnkeys.api.errors import Unauthorized
from vpnkeys.api.problems import problems
from vpnkeys.wire.sessions import SignedIn, SignedOut, SignIn

router = APIRouter(prefix="/ui/session", tags=["sign-in"], responses=problems(400, 401, 429, 500))


def _sessions(request: Request) -> Sessions:
    found: Sessions = request.app.state.sessions
    return found


@router.post("")
async def sign_in(given: SignIn, request: Request, response: Response, server: ServerDep) -> SignedIn:
    """Exchange a token for a session cookie that no script can read."""
    cookie, session = _sessions(request).open(recognised(request, server, given.token))
    response.set_cookie(COOKIE, cookie, path="/", secure=True, httponly=True, samesite="strict")
    return _answer(session)


@router.get("")
async def get_session(request: Request, _who: IdentityDep) -> SignedIn:
    """Who is signed in; 401 when nobody is."""
    session = _sessions(request).find(request.cookies.get(COOKIE))
    if session is None:
        raise Unauthorized
    return _answer(session)


@router.delete("")
async def sign_out(request: Request, response: Response, _who: IdentityDep) -> SignedOut:
    """End the session."""
    _sessions(request).close(request.cookies.get(COOKIE))
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    return SignedOut(message="Signed out")


def _answer(session: Session) -> SignedIn:
    who = session.identity
    return SignedIn(csrf=session.csrf, id=who.id, name=who.name, scope=who.scope)
