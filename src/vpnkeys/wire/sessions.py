"""Sessions of the dashboard: how a browser signs in and out."""

from typing import Annotated

from pydantic import Field

from vpnkeys.wire.base import Answer, OneOf, StrictBody
from vpnkeys.wire.keys import Done
from vpnkeys.wire.tokens import SentScope


class SignIn(StrictBody):
    """The API key, or a token."""

    token: Annotated[str, Field(min_length=1, max_length=512)]


class SignedIn(Answer):
    """Who is signed in. `csrf` goes into the header X-CSRF-Token of each request that changes something."""

    csrf: str
    id: str
    name: str
    scope: SentScope


class SignedOut(Done):
    """The session has ended."""

    message: Annotated[str, OneOf("Signed out")]
