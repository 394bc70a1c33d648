"""`/api/keys/{key_id}/test`: whether the key's link carries traffic."""

from typing import Annotated, Self

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from vpnkeys.api.deps import KeyId, ServerDep, changing_keys, limited
from vpnkeys.api.problems import problems
from vpnkeys.domain.trial import NOT_TRIED
from vpnkeys.service.selftest import KeyTest

router = APIRouter(prefix="/api/keys", tags=["keys"], responses=problems(401, 404, 429, 500, 503))


class EgressOut(BaseModel):
    """Whether the test got out again."""

    works: Annotated[bool | None, Field(description="null: not tried; `detail` says why")]
    detail: str


class KeyTestOut(BaseModel):
    """What a test of a key found."""

    key_id: str
    works: Annotated[bool, Field(description="a real client got in by the key's link and got bytes back")]
    handshake_ms: Annotated[float | None, Field(description="TCP and REALITY; null: it did not come to that")]
    first_byte_ms: Annotated[
        float | None, Field(description="from the request to the first byte of the answer, handshake included")
    ]
    bytes_received: int
    counted: Annotated[bool, Field(description="the key's traffic counters have grown by these bytes")]
    egress: Annotated[EgressOut, Field(description="a TLS handshake with the key's own REALITY target, by the tunnel")]
    detail: Annotated[str, Field(description="for people: what was found, and what to do next")]
    code: Annotated[
        str,
        Field(
            description="`ok`, `egress_failed`, `not_counted`; or, when it does not work, `key_disabled`, "
            "`key_expired`, `key_limited`, `port_not_listening`, `target_unreachable`, `handshake_refused`, "
            "`no_answer`, `client_failed`"
        ),
    ]

    @classmethod
    def of(cls, test: KeyTest) -> Self:
        """The test as the API shows it."""
        trial = test.trial
        egress = NOT_TRIED if trial is None else trial.egress
        return cls(
            key_id=test.key.id,
            works=test.works,
            handshake_ms=_ms(trial.handshake_s if trial else None),
            first_byte_ms=_ms(trial.first_byte_s if trial else None),
            bytes_received=trial.bytes_received if trial else 0,
            counted=test.counted,
            egress=EgressOut(works=egress.works, detail=egress.detail),
            detail=test.detail,
            code=test.code,
        )


@router.post("/{key_id}/test", dependencies=[changing_keys, Depends(limited("sync"))])
def test_key(key_id: KeyId, server: ServerDep) -> KeyTestOut:
    """Let a real client try the key's link, within ten seconds; its few kilobytes count as the customer's."""
    return KeyTestOut.of(server.selftest.of(server.keys.get(key_id)))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
