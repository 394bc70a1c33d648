"""Errors: `application/problem+json` (RFC 9457)."""

from typing import Annotated

from pydantic import Field

from vpnkeys.wire.base import Answer


class Problem(Answer):
    """What went wrong. `code` is a stable word for programs, `detail` a sentence for people."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    request_id: Annotated[str, Field(description="finds the request in the server's log")] = ""
