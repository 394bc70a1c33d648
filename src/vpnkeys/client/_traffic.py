"""`/api/traffic`: what all keys together use, and each of them."""

from datetime import datetime

from vpnkeys.client._fields import span_of
from vpnkeys.client._http import Http
from vpnkeys.wire.traffic import AllHistory, AllTraffic, Step

_PATH = "/api/traffic"


class AllKeysTraffic:
    """The traffic of all keys; that of one is in `Keys`."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def now(self) -> AllTraffic:
        """Return what each key has used, and from how many devices it is online."""
        return self._http.one(AllTraffic, "GET", _PATH)

    def history(self, since: datetime | None = None, until: datetime | None = None, step: Step = "hour") -> AllHistory:
        """Return what all keys used by hour or day, UTC; by default of the last day, or 30 days. Raises Rejected."""
        return self._http.one(AllHistory, "GET", f"{_PATH}/history", params=span_of(since, until, step))
