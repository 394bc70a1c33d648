"""Sends events by HTTP to webhooks, but never to addresses that only this machine can reach, such as cloud metadata."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress

import httpx

from vpnkeys import __version__
from vpnkeys.domain.webhook import SendResult, is_this_machine, refusal_reason

TIMEOUT_S = 10.0


class _Refused(Exception):
    """The URL leads to an address to which nothing may be sent."""


class WebhookClient:
    """Implements `domain.webhook.SendWebhook`: it sends one request and reads only the status of the answer.

    It resolves the name itself, checks every address, and connects to one of the checked addresses: a name that
    resolves to another address a moment later (DNS rebinding) has no effect. Proxies from the environment are not
    used, because a proxy would resolve the name again.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._context = ssl.create_default_context()

    async def __call__(self, url: str, headers: Mapping[str, str], body: str) -> SendResult:
        """Send one event and return the answer. One timeout covers all of it, from resolving the name to the status."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._send(httpx.URL(url), headers, body.encode())
        except TimeoutError:
            return SendResult(None, f"there was no answer within {self._timeout_s:g} s")
        except (_Refused, httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            return SendResult(None, _in_words(error))

    async def _send(self, url: httpx.URL, headers: Mapping[str, str], body: bytes) -> SendResult:
        client = httpx.AsyncClient(verify=self._context, trust_env=False, timeout=None)  # noqa: S113 - see above
        async with client:
            *others, last = await _addresses(url)
            for address in others:
                with suppress(httpx.ConnectError):
                    return await self._send_to(client, address, url, headers, body)
            return await self._send_to(client, last, url, headers, body)

    async def _send_to(
        self, client: httpx.AsyncClient, address: str, url: httpx.URL, headers: Mapping[str, str], body: bytes
    ) -> SendResult:
        """Send to this address with the URL's host in the request, in SNI and in the check of the certificate."""
        own_headers = {"Host": url.netloc.decode("ascii"), "User-Agent": f"vpnkeys/{__version__}"}
        by_address = url.copy_with(host=address)
        as_host = {"sni_hostname": url.host}
        # The body of an answer is never read: it may be endless.
        async with client.stream(
            "POST", by_address, headers={**headers, **own_headers}, content=body, extensions=as_host
        ) as answer:
            return SendResult(answer.status_code)


async def _addresses(url: httpx.URL) -> list[str]:
    """Return all addresses of the URL's host. Raises _Refused when nothing may be sent to one of them."""
    addresses = await _resolve(url.host)
    is_local = is_this_machine(url.host)
    if url.scheme == "http" and not is_local:
        raise _Refused("events are sent to other machines by https only")
    for address in addresses:
        if why := refusal_reason(address, is_local=is_local):
            raise _Refused(why)
    return addresses


async def _resolve(host: str) -> list[str]:
    """Return all addresses of a host.

    They are resolved in a daemon thread, not in an executor: DNS may take half a minute, and Python waits for an
    executor's threads when the program ends.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def deliver(answer: list[str] | OSError) -> None:
        if found.done():
            return  # the caller has timed out
        if isinstance(answer, OSError):
            found.set_exception(answer)
        else:
            found.set_result(answer)

    def work() -> None:
        answer: list[str] | OSError
        try:
            entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            answer = list(dict.fromkeys(str(address[0]) for *_, address in entries))
        except OSError as error:
            answer = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(deliver, answer)

    threading.Thread(target=work, name="webhook-name", daemon=True).start()
    return await found


def _in_words(error: Exception) -> str:
    """Return the reason of a failure for the operator, without the URL, whose path may be a secret."""
    root: BaseException = error
    while (below := root.__cause__ or root.__context__) is not None:
        root = below
    if isinstance(root, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {root.verify_message}"
    if isinstance(root, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, _Refused):
        return str(error)
    if isinstance(error, httpx.ConnectError):
        return "it accepts no connections"
    return f"the connection broke ({type(error).__name__})"
