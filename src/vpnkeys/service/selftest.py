"""Tests with a real client whether a key's link carries traffic, and says what to do where it does not."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from vpnkeys.domain.errors import KeyElsewhere, SelfTestBusy, XrayUnavailable
from vpnkeys.domain.key import Key
from vpnkeys.domain.limits import Status
from vpnkeys.domain.nodes import LOCAL
from vpnkeys.domain.traffic import NOTHING, Samples
from vpnkeys.domain.trial import Outcome, Trial
from vpnkeys.interfaces import Node

_WAIT_FOR_OTHER_TEST_S = 1.0
_COUNTED_WITHIN_S = 1.0
_ASK_EVERY_S = 0.05

OK, NOT_COUNTED, EGRESS_FAILED = "ok", "not_counted", "egress_failed"

_STATUS_DETAIL: Mapping[Status, str] = MappingProxyType(
    {
        Status.DISABLED: "The key is switched off; set is_active to true.",
        Status.EXPIRED: "The key has expired; extend it or lift expires_at.",
        Status.LIMITED: "The key has used up its traffic limit; raise or lift traffic_limit_bytes, or wait for "
        "the next window.",
    }
)

_OUTCOME_DETAIL: Mapping[Outcome, str] = MappingProxyType(
    {
        Outcome.PORT_SILENT: "Nothing lets clients in at port {port}. POST /api/system/sync-config puts the key back "
        "into Xray; GET /api/system/ports/status says whether another program has the port.",
        Outcome.TARGET_DOWN: "The target of the key's server name fails, so no client gets in: {reason}. If that "
        "lasts, give the key another name and a new link: POST /api/keys/{id}/rotate with sni: true.",
        Outcome.REFUSED: "Port {port} answers but does not let the key's client in, so Xray's settings differ from the "
        "link. Compare with GET /api/system/xray/validate-sync, repair with POST /api/system/xray/sync-config.",
        Outcome.NO_ANSWER: "Port {port} takes connections but does not answer in time. Just after a start, try again "
        "in a few seconds; otherwise restart Xray with POST /api/system/xray/sync-config.",
        Outcome.NO_CLIENT: "Nothing is known of the key, because the test's own client failed: {reason}.",
    }
)


@dataclass(frozen=True, slots=True)
class KeyTest:
    """Holds the result of a test. `code` is a stable word: `ok`, or the cause to look at first.

    `counted` says whether the key's counters in Xray have grown by the bytes that came through.
    """

    key: Key
    works: bool
    code: str
    detail: str
    counted: bool = False
    trial: Trial | None = None


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Tests one key at a time: each test starts an Xray as a client, and reads counters before and after."""

    node: Node
    _testing: threading.Lock = field(default_factory=threading.Lock)

    def of(self, key: Key) -> KeyTest:
        """Test a key now, within twelve seconds, and return the result.

        Raises KeyElsewhere, XrayUnavailable, and SelfTestBusy while another key is being tested.
        """
        if key.node.id != LOCAL.id:
            msg = (
                f"The key lives on node {key.node.name}, and a test needs a client there; here no key of it is tested."
            )
            raise KeyElsewhere(msg)
        if key.status is not Status.ACTIVE:
            return KeyTest(key, works=False, code=f"key_{key.status}", detail=_STATUS_DETAIL[key.status])
        if not self._testing.acquire(timeout=_WAIT_FOR_OTHER_TEST_S):
            msg = "Another key is being tested; try again in some seconds."
            raise SelfTestBusy(msg)
        try:
            # Before the client starts, whose few kilobytes are counted like a customer's.
            before = self.node.sample([key.account])
            trial = self.node.try_link(key)
            counted = trial.outcome is Outcome.WORKS and self._has_counted(key, before, trial.bytes_received)
        finally:
            self._testing.release()
        if trial.outcome is not Outcome.WORKS and not self.node.is_up():
            msg = "Xray ended while the key was tested; it is being restarted. Try again shortly."
            raise XrayUnavailable(msg)
        return _result(key, trial, counted=counted)

    def _has_counted(self, key: Key, before: Samples, count: int) -> bool:
        """Return whether Xray counts these bytes for the key within a second; its counters may be a moment behind."""
        deadline = time.monotonic() + _COUNTED_WITHIN_S
        while True:
            now = self.node.sample([key.account])
            if now.epoch != before.epoch:  # a new Xray begins at zero: the two samples cannot be compared
                return False
            grown = now.usage.get(key.account, NOTHING).down - before.usage.get(key.account, NOTHING).down
            if grown >= count or time.monotonic() >= deadline:
                return grown >= count
            time.sleep(_ASK_EVERY_S)


def _result(key: Key, trial: Trial, *, counted: bool) -> KeyTest:
    if trial.outcome is not Outcome.WORKS:
        detail = _OUTCOME_DETAIL[trial.outcome].format(port=key.port, id=key.id, reason=trial.reason)
        return KeyTest(key, works=False, code=trial.outcome, detail=detail, trial=trial)
    code, detail = OK, "The link carries traffic."
    if not counted:
        code = NOT_COUNTED
        detail = "The link carries traffic, but Xray does not count it. POST /api/system/sync-config, then test again."
    elif trial.egress.works is False:
        code = EGRESS_FAILED
        detail = (
            f"The link carries traffic to this server, but not from it to the internet: {trial.egress.detail}. Check "
            "this server's own connection, and the routing rules and outbounds that you added to config.json."
        )
    if counted and key.limits.is_waiting:
        detail += " The key's time waited for its first connection, and begins with this test: see expires_at."
    return KeyTest(key, works=True, code=code, detail=detail, counted=counted, trial=trial)
