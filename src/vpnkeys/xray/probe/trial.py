"""Tests a key's link with a real client: through the key's port to Xray's own answer, and out to the internet."""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from vpnkeys.domain.inbound import Inbound, ServerIdentity, key_inbound
from vpnkeys.domain.key import Key
from vpnkeys.domain.reality import Fingerprint
from vpnkeys.domain.target import TargetReport
from vpnkeys.domain.trial import NOT_TRIED, Egress, Outcome, Trial
from vpnkeys.xray.config.document import SELF_TEST_HOST, BaseConfig
from vpnkeys.xray.probe.client import ClientFailed, ConnectionTrace, connect, relay, running_client, way_into

# Ten seconds in all. _ANSWER_S covers the five that REALITY makes a client sleep when it connects during a probe.
_ANSWER_S, _EGRESS_S = 6.0, 2.0
_DEADLINE_S = 9.5

_REQUEST = f"GET / HTTP/1.1\r\nHost: {SELF_TEST_HOST}\r\n\r\n".encode("ascii")
_END_OF_HEAD = b"\n\n"  # Xray's blackhole writes bare line feeds (`proxy/blackhole/config.go`) and closes later
_MAX_HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Trials:
    """Tests links. `base` says what customers may reach.

    `report` gives the latest report of a name's target; `problem` asks the target now, within two seconds, and says why
    clients cannot get in by the name, with an empty text when they can.
    """

    xray: Path
    environment: Mapping[str, str]
    site: Callable[[], ServerIdentity]
    base: BaseConfig
    report: Callable[[str], TargetReport | None]
    problem: Callable[[str], str]

    def of(self, key: Key) -> Trial:
        """Test a key's link; return the result within ten seconds. The client is ended and its files are removed."""
        site = self.site()
        try:
            return asyncio.run(self._within_deadline(key, site))
        except ClientFailed as error:
            return Trial(Outcome.NO_CLIENT, str(error))
        except OSError as error:
            return Trial(Outcome.NO_CLIENT, f"it could not be started: {error.strerror or error}")

    async def _within_deadline(self, key: Key, site: ServerIdentity) -> Trial:
        try:
            async with asyncio.timeout(_DEADLINE_S):
                return await self._try(key, site)
        except TimeoutError:
            return Trial(Outcome.NO_CLIENT, f"it did not get ready within {_DEADLINE_S:.0f} s")

    async def _try(self, key: Key, site: ServerIdentity) -> Trial:
        inbound, trace = key_inbound(key, site), ConnectionTrace()
        async with AsyncExitStack() as stack:
            port = await stack.enter_async_context(relay(partial(_dial, inbound), trace))
            way = replace(way_into(inbound, port, site.public_key), fingerprint=_steady(site.fingerprint_of(key)))
            client = running_client(self.xray, self.environment, Path(site.socket_dir), [way], "test")
            (proxy,) = await stack.enter_async_context(client)
            trial = await _ask(proxy, trace)
            if trial.outcome is Outcome.WORKS:
                return replace(trial, egress=await self._egress(proxy, inbound))
        return await self._with_cause(trial, inbound)

    async def _with_cause(self, trial: Trial, inbound: Inbound) -> Trial:
        """Return the result with a problem of the target as its cause, if there is one."""
        # REALITY uses the target's handshake for every connection, so a broken target keeps all clients out.
        if trial.outcome is Outcome.PORT_SILENT:
            return trial
        problem = await asyncio.to_thread(self.problem, inbound.reality.server_names[0])
        return replace(trial, outcome=Outcome.TARGET_DOWN, reason=problem) if problem else trial

    async def _egress(self, proxy: Path, inbound: Inbound) -> Egress:
        target, server_name = inbound.reality.target, inbound.reality.server_names[0]
        host, _, port = target.rpartition(":")
        host = host.strip("[]")
        if not self._lets_out(host, int(port), self.report(server_name)):
            return Egress(
                works=None, detail=f"not tried: this server keeps customers away from {target} (VPNKEYS_EGRESS_ALLOW)"
            )
        began = time.monotonic()
        try:
            async with asyncio.timeout(_EGRESS_S):
                _, writer = await connect(proxy, host, int(port))
                try:
                    await writer.start_tls(_unverified_context(), server_hostname=server_name)
                finally:
                    writer.transport.abort()
        except TimeoutError:
            return Egress(
                works=False, detail=f"{target} gave no TLS handshake through the tunnel within {_EGRESS_S:.0f} s"
            )
        except (OSError, asyncio.IncompleteReadError) as error:
            return Egress(works=False, detail=f"{target} gave no TLS handshake through the tunnel ({error})")
        return Egress(
            works=True, detail=f"{target} shook hands through the tunnel in {(time.monotonic() - began) * 1000:.0f} ms"
        )

    def _lets_out(self, host: str, port: int, report: TargetReport | None) -> bool:
        """Return whether customers may reach a host; a name counts as its address at the latest check, if known."""
        try:
            return self.base.lets_out(str(ip_address(host)), port)
        except ValueError:
            return report is None or report.address is None or self.base.lets_out(*report.address)


def _steady(fingerprint: Fingerprint) -> Fingerprint:
    """Return a fingerprint for a test of the key: a drawn one may fail by itself, and would say nothing of the key."""
    return Fingerprint.CHROME if fingerprint is Fingerprint.RANDOMIZED else fingerprint


async def _dial(inbound: Inbound) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to an inbound from loopback: Xray's online list leaves out 127.0.0.1 and ::1, so no device is counted."""
    there = ip_address(inbound.listen)
    loopback = "127.0.0.1" if there.version == 4 else "::1"  # noqa: PLR2004 - IPv4
    host = loopback if there.is_unspecified else str(there)
    return await asyncio.open_connection(host, inbound.port, local_addr=(loopback, 0))


async def _ask(proxy: Path, trace: ConnectionTrace) -> Trial:
    """Request Xray's own answer through the proxy; return the result, at once when nothing listens on the port."""
    answer = asyncio.create_task(_answer(proxy))
    unreachable = asyncio.create_task(trace.unreachable.wait())
    tasks = {answer, unreachable}
    try:
        done, _ = await asyncio.wait(tasks, timeout=_ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if unreachable in done:
        return Trial(Outcome.PORT_SILENT)
    if answer not in done:
        return Trial(Outcome.NO_ANSWER, handshake_s=trace.handshake_s)
    first_byte_s, count = answer.result()
    if not count:
        return Trial(Outcome.REFUSED, handshake_s=trace.handshake_s)
    return Trial(Outcome.WORKS, "", trace.handshake_s, first_byte_s, count, NOT_TRIED)


async def _answer(proxy: Path) -> tuple[float, int]:
    """Return the seconds to the first byte of an answer and the bytes of its head; (0.0, 0) when it was closed.

    Raises ClientFailed when the proxy does not answer CONNECT, for which it needs no server.
    """
    began = time.monotonic()
    try:
        reader, writer = await connect(proxy, SELF_TEST_HOST, 80)
    except (OSError, asyncio.IncompleteReadError) as error:
        raise ClientFailed("it ended during the test") from error
    try:
        writer.write(_REQUEST)
        head = await reader.read(_MAX_HEAD_BYTES)
        first_byte_s = time.monotonic() - began
        while head and _END_OF_HEAD not in head and (more := await reader.read(_MAX_HEAD_BYTES)):
            head += more
    except (OSError, asyncio.IncompleteReadError):
        return 0.0, 0
    else:
        return first_byte_s, len(head)
    finally:
        writer.close()


def _unverified_context() -> ssl.SSLContext:
    """Return a TLS context that accepts any certificate."""
    # Only the handshake counts here; `targets` checks certificates.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context
