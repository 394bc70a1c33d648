"""One fault, changes while it lasts, and what must hold afterwards, whatever was answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field

import httpx

from tests.support.agreement import agreement
from tests.support.changes import Change, Create
from tests.support.clients import XrayClient
from tests.support.faults import Fault, Scene
from tests.support.keys import Key, carrying, link_of, list_keys
from tests.support.link import VlessLink
from tests.support.process import ProcessError, wait_until
from tests.support.service import Service
from tests.support.slowness import slowness
from tests.support.socks import Address
from tests.support.streams import ByteServer, Echo, PingPong, ended_within, transfer
from vpnkeys.service.health.codes import Code
from vpnkeys.xray.host.sockets import can_cut

NAMED_WITHIN_S = 15.0
RIGHT_WITHIN_S = 10.0
STRUCK_WITHIN_S = 10.0
_SETTLED_S = 2.5
"""Longer than a call that timed out may wait in Xray."""
_SETTLED_TRIPS = 8
_LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Far:
    """What customers connect to."""

    byte_server: ByteServer
    echo: Echo


@dataclass
class Episode:
    """A fault and the changes in it; `steady` is a key that nobody touches."""

    scene: Scene
    fault: Fault
    changes: Sequence[Change]
    steady: Key
    far: Far
    pool: ThreadPoolExecutor = field(default_factory=ThreadPoolExecutor, init=False)
    link: VlessLink = field(init=False)
    """The link of `steady` before the changes."""
    pings: PingPong = field(init=False)
    """A message a moment of the customer whom nothing concerns."""

    def live_through(self) -> None:
        """Assert that the fault is told, that all is right soon after it, and that this stays so."""
        with ExitStack() as stack:
            stack.enter_context(self.pool)
            self._let_customers_in(stack)
            self._go_wrong(stack)
            ended = time.monotonic()
            finishing = [self.pool.submit(change.finish, self.far.byte_server, ended) for change in self.changes]
            _wait_for_nothing(self._wrong, ended + RIGHT_WITHIN_S * slowness())
            wait(finishing)
            self._assert_connections()
        self._assert_who_gets_in(ended + RIGHT_WITHIN_S * slowness())
        time.sleep(max(0.0, ended + _SETTLED_S - time.monotonic()))
        assert not (wrong := self._wrong()), wrong

    def _let_customers_in(self, stack: ExitStack) -> None:
        """Each key that there is already has a customer, who is connected."""
        for change in self.changes:
            change.prepare()
        owners = [change for change in self.changes if change.link]
        self.link = link_of(self.scene.service, self.steady)
        links = [self.link, *(change.link for change in owners if change.link)]
        client = stack.enter_context(XrayClient.many(links))
        self.pings = stack.enter_context(PingPong(self.far.echo.open(client.socks)))
        for change, proxy in zip(owners, client.proxies[1:], strict=True):
            change.proxy, change.sock = proxy, stack.enter_context(self.far.byte_server.open(proxy))
            transfer(change.sock, 1_000, 1_000)
        # A REALITY handshake is one with the target, too: one that dies in that moment takes the customer along.
        assert wait_until(lambda: len(self.pings.round_trips_s) >= _SETTLED_TRIPS)
        for change in self.changes:
            change.set_up()

    def _go_wrong(self, stack: ExitStack) -> None:
        """Let the fault last until it is told and its time is over, or until limits were enforced in it."""
        clients = [stack.enter_context(self.scene.service.new_client()) for _ in self.changes]

        def make() -> list[Future[None]]:
            pairs = zip(self.changes, clients, strict=True)
            return [self.pool.submit(change.make, client, self.far.byte_server) for change, client in pairs]

        began = time.monotonic()
        making = make() if self.fault.strikes else []
        with self.fault.during(self.scene):
            making = making or make()
            if self.fault.codes:
                self._wait_named(began + NAMED_WITHIN_S * slowness())
            if self.fault.enforced:
                wait(making)
                self._assert_made_keys_work()
                _wait_for_nothing(self._not_enforced, time.monotonic() + STRUCK_WITHIN_S * slowness())
            time.sleep(max(0.0, began + self.fault.lasts_s - time.monotonic()))
        for one in making:
            one.result()

    def _wait_named(self, deadline: float) -> None:
        while not self.fault.codes & (codes := problems(self.scene.service)):
            assert time.monotonic() < deadline, f"/health names {codes}, not {sorted(self.fault.codes)}"
            time.sleep(_LOOK_EVERY_S)

    def _assert_made_keys_work(self) -> None:
        """A key that was made meanwhile carries traffic meanwhile: else the answer would have been 503."""
        made = [change.answer for change in self.changes if isinstance(change, Create) and change.code == "200"]
        links = [link_of(self.scene.service, answer.json()) for answer in made if answer]
        if links:
            with XrayClient.many(links) as client:
                assert all(get_in(client.proxies, self.far)), "200 for a key with which nobody gets in"

    def _not_enforced(self) -> list[str]:
        """The limits that have not struck yet."""
        keys = list_keys(self.scene.service)
        return [line for change in self.changes if change.is_limit for line in change.broken_by(keys)]

    def _wrong(self) -> list[str]:
        """Where database, config.json and Xray differ, and where they differ from what was answered."""
        try:
            keys = list_keys(self.scene.service)
            broken = [line for change in self.changes for line in change.broken_by(keys)]
            return [*broken, *agreement(self.scene.service)]
        except (httpx.HTTPError, ProcessError, OSError) as error:
            return [f"{type(error).__name__}: {error}"]

    def _assert_connections(self) -> None:
        """What was open through a stopped key has ended; a customer who may be connected noticed nothing."""
        # A key that was made while the clock was behind counts as the older one, and may get its port.
        is_moved = link_of(self.scene.service, self.steady).port != self.link.port
        if self.fault.stay and not is_moved:
            assert self.pings.broken is None, f"a customer who may be connected was cut off: {self.pings.broken}"
        keys = list_keys(self.scene.service)
        for change in self.changes:
            if change.sock and change.found(keys) != "active" and can_cut():
                assert ended_within(change.sock, 1.0), f"{change.name}: a connection of a stopped key is open"

    def _assert_who_gets_in(self, deadline: float) -> None:
        """By real clients: everyone whose key is active, soon, and nobody else, ever."""
        service = self.scene.service
        keys = {key["id"]: key for key in list_keys(service)}
        named = [("steady", self.steady, None), *((change.name, change.key, change.link) for change in self.changes)]
        active = {name: link_of(service, key) for name, key, _ in named if key and _is_active(keys, key)}
        stopped = {name: link for name, key, link in named if link and not _is_active(keys, key)}
        with XrayClient.many([*active.values(), *stopped.values()]) as client:
            _wait_for_nothing(lambda: self._kept_out([*active, *stopped], len(active), client.proxies), deadline)

    def _kept_out(self, names: Sequence[str], active: int, proxies: Sequence[Address]) -> list[str]:
        """Those of the first, with active keys, who do not get in; the others must not."""
        found = get_in(proxies, self.far)
        got_in = [name for name, is_in in zip(names[active:], found[active:], strict=True) if is_in]
        assert not got_in, f"with a stopped key: {got_in}"
        return [
            f"{name} does not get in" for name, is_in in zip(names[:active], found[:active], strict=True) if not is_in
        ]


def problems(service: Service) -> set[Code]:
    """What `/health` names."""
    return {Code(problem["code"]) for problem in service.client.get("/health").json()["problems"]}


def get_in(proxies: Sequence[Address], far: Far) -> list[bool]:
    """Whether bytes get through each proxy, tried side by side."""
    return carrying(proxies, far.byte_server, timeout=3.0)


def _is_active(keys: dict[str, Key], key: Key | None) -> bool:
    return key is not None and key["id"] in keys and keys[key["id"]]["status"] == "active"


def _wait_for_nothing(wrong: Callable[[], list[str]], deadline: float) -> None:
    """Wait until nothing is wrong; at the deadline, what still is makes the test fail."""
    while found := wrong():
        assert time.monotonic() < deadline, found
        time.sleep(_LOOK_EVERY_S)
