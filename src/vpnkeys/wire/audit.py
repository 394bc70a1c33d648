"""The audit log: every change, who made it, and how it ended."""

from typing import Annotated, Any

from pydantic import Field

from vpnkeys.wire.base import Answer, Microseconds, OneOf


class AuditRecord(Answer):
    """One change.

    `actor` is the token's name, `origin` the address it was used from; `before` and `after` hold what differs.
    """

    id: Annotated[int, Field(description="grows with time")]
    at: Microseconds
    actor: str
    origin: str
    request_id: str = ""
    action: str
    subject: Annotated[str, Field(description="the id of the key, token or webhook that it was done to")]
    before: dict[str, Any] = Field(default_factory=dict)
    after: dict[str, Any] = Field(default_factory=dict)
    outcome: Annotated[str, OneOf("done", "taken_back", "failed"), Field(description="how the change ended")]
    detail: str = ""
