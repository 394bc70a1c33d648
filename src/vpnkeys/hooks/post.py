"""POSTs over HTTP to wherever an operator says, and to nowhere that would be an abuse of this machine's place."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress

import httpx

from vpnkeys import __version__
from vpnkeys.domain.webhook import Answer, is_this_machine, refusal_reason

TIMEOUT_S = 10.0


class _Refused(Exception):
    """The name leads where nothing is sent."""


class HttpPost:
    """Keeps the promise of `domain.webhook.Post`: one request, one answer, of which only the status is read.

    The name is resolved here, every address of it is looked at, and one of those is what is connected to: a name that
    means something else a moment later leads nowhere new. No proxy of the environment is used for the same reason.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._context = ssl.create_default_context()

    async def __call__(self, url: str, headers: Mapping[str, str], body: str) -> Answer:
        """Send it. All of it, from the name to the status, has the one timeout."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._send(httpx.URL(url), headers, body.encode())
        except TimeoutError:
            return Answer(None, f"there was no answer within {self._timeout_s:g} s")
        except (_Refused, httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            return Answer(None, _in_words(error))

    async def _send(self, url: httpx.URL, headers: Mapping[str, str], body: bytes) -> Answer:
        client = httpx.AsyncClient(verify=self._context, trust_env=False, timeout=None)  # noqa: S113 - see above
        async with client:
            *others, last = await _addresses(url)
            for address in others:
                with suppress(httpx.ConnectError):
                    return await self._send_to(client, address, url, headers, body)
            return await self._send_to(client, last, url, headers, body)

    async def _send_to(
        self, client: httpx.AsyncClient, address: str, url: httpx.URL, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        """To this address, as the host that the URL names: in the request, and in what the certificate has to say."""
        about_us = {"Host": url.netloc.decode("ascii"), "User-Agent": f"vpnkeys/{__version__}"}
        here = url.copy_with(host=address)
        as_host = {"sni_hostname": url.host}
        # The body of an answer is never read: it may be endless.
        async with client.stream(
            "POST", here, headers={**headers, **about_us}, content=body, extensions=as_host
        ) as answer:
            return Answer(answer.status_code)


async def _addresses(url: httpx.URL) -> list[str]:
    """Where the URL's host is. Raises _Refused when any of its addresses is where nothing is sent."""
    addresses = await _resolve(url.host)
    is_local = is_this_machine(url.host)
    if url.scheme == "http" and not is_local:
        raise _Refused("without TLS nothing is sent to another machine")
    for address in addresses:
        if why := refusal_reason(address, is_local=is_local):
            raise _Refused(why)
    return addresses


async def _resolve(host: str) -> list[str]:
    """All addresses of a host, in a thread that nobody waits for when the program ends: DNS may take half a minute."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def tell(answer: list[str] | OSError) -> None:
        if found.done():
            return  # whoever asked has gone
        if isinstance(answer, OSError):
            found.set_exception(answer)
        else:
            found.set_result(answer)

    def work() -> None:
        answer: list[str] | OSError
        try:
            places = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            answer = list(dict.fromkeys(str(place[0]) for *_, place in places))
        except OSError as error:
            answer = error
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, answer)

    threading.Thread(target=work, name="webhook-name", daemon=True).start()
    return await found


def _in_words(error: Exception) -> str:
    """What went wrong, for the operator; never the URL, whose path may be a secret."""
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
        return "it takes no connections"
    return f"the connection broke ({type(error).__name__})"
