"""Serves `/api/keys/{key_id}/test`: tests whether the key's link carries traffic."""

from vpnkeys.api.auth.access import requires
from vpnkeys.api.deps import KeyDep, SelfTestDep
from vpnkeys.api.problems import problems
from vpnkeys.api.routing import ApiRouter
from vpnkeys.domain.token import Scope
from vpnkeys.domain.trial import NOT_TRIED
from vpnkeys.server.pools import Pool
from vpnkeys.service.selftest import KeyTest as Tested
from vpnkeys.wire.keys import EgressTest, KeyTest

router = ApiRouter(prefix="/api/keys", tags=["keys"], responses=problems(401, 404, 429, 500, 503))


@router.post("/{key_id}/test")
@requires(Scope.KEYS, limit="sync", pool=Pool.SLOW)
def test_key(key: KeyDep, selftest: SelfTestDep) -> KeyTest:
    """Let a real client try the key's link, within ten seconds; its few kilobytes count as the customer's.

    They begin the time of a key with `expires_after_s` that waits for its first byte.
    """
    return _answer(selftest.of(key))


def _answer(test: Tested) -> KeyTest:
    trial = test.trial
    egress = NOT_TRIED if trial is None else trial.egress
    return KeyTest(
        key_id=test.key.id,
        works=test.works,
        handshake_ms=_ms(trial.handshake_s if trial else None),
        first_byte_ms=_ms(trial.first_byte_s if trial else None),
        bytes_received=trial.bytes_received if trial else 0,
        counted=test.counted,
        egress=EgressTest(works=egress.works, detail=egress.detail),
        detail=test.detail,
        code=test.code,
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
