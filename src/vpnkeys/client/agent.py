"""What a node's agent asks of its control plane. Programs that manage keys use `Client` instead."""

from http import HTTPStatus

import httpx
from pydantic import TypeAdapter

from vpnkeys.client._calls import Call, checked, one, parsed
from vpnkeys.client._client import Client
from vpnkeys.wire.agents import Desired, Joined, JoinRequest, Received, Report

_DESIRED = TypeAdapter(Desired)
_WAIT_S, _MARGIN_S = 50.0, 15.0


class ControlPlane:
    """A control plane, as an agent with this token knows it; every method raises ApiError."""

    def __init__(self, url: str, token: str, fingerprint: str | None) -> None:
        """Prepare connections; `fingerprint` is of the only certificate to trust. Raises ValueError."""
        self._client = Client(url, token, fingerprint=fingerprint, timeout=_WAIT_S + _MARGIN_S)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def join(self, request: JoinRequest) -> Joined:
        """Become a node. Raises Unauthorized for a token that is not valid any more."""
        return self._client.send(one(Joined, "POST", "/agent/join", json=request.model_dump(mode="json")))

    def desired(self, rev: str) -> Desired | None:
        """Return what the node should have as soon as that is not `rev`; None when it has stayed so for 50 seconds."""
        return self._client.send(
            Call(_desired_in, "GET", "/agent/desired", {"params": {"rev": rev, "wait_s": _WAIT_S}})
        )

    def report(self, report: Report) -> Received:
        """Say what the node has; when this returns, the control plane has stored it."""
        return self._client.send(one(Received, "POST", "/agent/report", json=report.model_dump(mode="json")))


def _desired_in(response: httpx.Response) -> Desired | None:
    if response.status_code == HTTPStatus.NO_CONTENT:
        return None
    return parsed(_DESIRED, checked(response))
