"""`/ui/session`: a browser signs in with a token, and out."""

from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from vpnkeys.api.auth.sessions import COOKIE, Session, Sessions
from vpnkeys.api.deps import IdentityDep, ServerDep, recognised
from vpnkeys.api.errors import Unauthorized
from vpnkeys.api.problems import problems
from vpnkeys.domain.token import Scope

router = APIRouter(prefix="/ui/session", tags=["sign-in"], responses=problems(400, 401, 429, 500))


class SignIn(BaseModel):
    """The API key, or a token."""

    model_config = ConfigDict(extra="forbid")

    token: Annotated[str, Field(min_length=1, max_length=512)]


class SignedIn(BaseModel):
    """Who is signed in. `csrf` goes into the header X-CSRF-Token of whatever changes something."""

    csrf: str
    id: str
    name: str
    scope: Scope

    @classmethod
    def of(cls, session: Session) -> "SignedIn":
        """A session as the page sees it."""
        who = session.identity
        return cls(csrf=session.csrf, id=who.id, name=who.name, scope=who.scope)


class SignedOut(BaseModel):
    """The session has ended."""

    message: Literal["Signed out"] = "Signed out"


def _sessions(request: Request) -> Sessions:
    found: Sessions = request.app.state.sessions
    return found


@router.post("")
async def sign_in(given: SignIn, request: Request, response: Response, server: ServerDep) -> SignedIn:
    """Exchange a token for a session cookie that no script can read."""
    cookie, session = _sessions(request).open(recognised(request, server, given.token))
    response.set_cookie(COOKIE, cookie, path="/", secure=True, httponly=True, samesite="strict")
    return SignedIn.of(session)


@router.get("")
async def get_session(request: Request, _who: IdentityDep) -> SignedIn:
    """Who is signed in; 401 when nobody is."""
    session = _sessions(request).find(request.cookies.get(COOKIE))
    if session is None:
        raise Unauthorized
    return SignedIn.of(session)


@router.delete("")
async def sign_out(request: Request, response: Response, _who: IdentityDep) -> SignedOut:
    """End the session."""
    _sessions(request).close(request.cookies.get(COOKIE))
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    return SignedOut()
