"""What a node's agent asks of its control plane. Programs that manage keys use `Client` instead."""

from http import HTTPStatus
from typing import Any

import httpx
from pydantic import BaseModel, TypeAdapter

from vpnkeys.client._calls import Call, checked, one, parsed
from vpnkeys.client._client import Client
from vpnkeys.client._http import header
from vpnkeys.client._waiting import Waiting
from vpnkeys.wire.agents import Desired, Joined, JoinRequest, NewToken, Received, Report

_HEADER = "X-API-Key"
_DESIRED = TypeAdapter(Desired)
_WAIT_S, _MARGIN_S = 50.0, 15.0
_FOR_LONG = httpx.Timeout(_WAIT_S + _MARGIN_S, connect=_MARGIN_S)


class ControlPlane:
    """A control plane, as an agent with this token knows it; every method raises ApiError."""

    def __init__(self, url: str, token: str, fingerprint: str | None) -> None:
        """Prepare connections; `fingerprint` is of the only certificate to trust. Raises ValueError."""
        self._client = Client(url, None, fingerprint=fingerprint, timeout=_MARGIN_S)
        self._waiting = Waiting(Client(url, None, fingerprint=fingerprint))
        self.token = header(_HEADER, token)[_HEADER]

    def close(self) -> None:
        """Close all connections."""
        self._client.close()
        self._waiting.close()

    def join(self, request: JoinRequest) -> Joined:
        """Become a node. Raises Unauthorized for a token that is not valid any more."""
        return self._client.send(one(Joined, "POST", "/agent/join", **self._saying(request)))

    def new_token(self) -> str:
        """Return the agent's next token; `token` works until a report comes with this one."""
        return self._client.send(one(NewToken, "POST", "/agent/token", headers=self._headers)).token

    def desired(self, rev: str, ticket: str = "") -> Desired | None:
        """Return what the node should have as soon as that is not `rev`, or there is a newer ticket.

        None when it has stayed so for 50 seconds.
        """
        asked = {"rev": rev, "ticket": ticket, "wait_s": _WAIT_S}
        options = {"params": asked, "headers": self._headers, "timeout": _FOR_LONG}
        return self._waiting.send(Call(_desired_in, "GET", "/agent/desired", options), rev)

    def report(self, report: Report) -> Received:
        """Say what the node has; when this returns, the control plane has stored it."""
        received = self._client.send(one(Received, "POST", "/agent/report", **self._saying(report)))
        self._waiting.doubt(received.rev)
        return received

    @property
    def _headers(self) -> dict[str, str]:
        return {_HEADER: self.token}

    def _saying(self, body: BaseModel) -> dict[str, Any]:
        return {"headers": self._headers, "json": body.model_dump(mode="json")}


def _desired_in(response: httpx.Response) -> Desired | None:
    if response.status_code == HTTPStatus.NO_CONTENT:
        return None
    return parsed(_DESIRED, checked(response))
