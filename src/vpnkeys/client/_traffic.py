"""`/api/traffic`: what all keys together use, and each of them."""

from datetime import datetime

from vpnkeys.client._calls import AsyncPart, Call, Part, Request, one
from vpnkeys.client._fields import span_of
from vpnkeys.wire.traffic import AllHistory, AllTraffic, Step

_PATH = "/api/traffic"


class AllKeysTrafficRequests:
    """The traffic of all keys; that of one is in `Keys`."""

    @Request
    def now(self) -> Call[AllTraffic]:
        """Return what each key has used, as last sampled, and from how many devices it is online now."""
        return one(AllTraffic, "GET", _PATH)

    @Request
    def history(
        self, since: datetime | None = None, until: datetime | None = None, step: Step = "hour"
    ) -> Call[AllHistory]:
        """Return what all keys used by hour or day, UTC; by default of the last day, or 30 days. Raises Rejected."""
        return one(AllHistory, "GET", f"{_PATH}/history", params=span_of(since, until, step))


class AllKeysTraffic(Part, AllKeysTrafficRequests):
    """The traffic of all keys; that of one is in `Keys`."""


class AsyncAllKeysTraffic(AsyncPart, AllKeysTrafficRequests):
    """The traffic of all keys; that of one is in `Keys`."""
