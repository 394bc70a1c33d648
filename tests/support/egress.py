"""Places that customers must not get to, and servers that are beside them: on this host, and installed in a guest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.installed import Installed
from tests.support.link import VlessLink
from tests.support.ports import free_port
from tests.support.room import (
    FAR4,
    FAR6,
    LINK_LOCAL,
    METADATA,
    PRIVATE4,
    PRIVATE6,
    PUBLIC4,
    PUBLIC6,
    Listener,
    Names,
    Room,
    xray_asking_the_room,
)
from tests.support.service import Service
from tests.support.target import RealityTarget

LISTENING = ("127.0.0.1", "127.0.0.9", "::1", PRIVATE4, PRIVATE6, METADATA, LINK_LOCAL, PUBLIC4, PUBLIC6)
NAMES = {
    "loopback.test": ["127.0.0.1"],
    "loopback6.test": ["::1"],
    "private.test": [PRIVATE4],
    "metadata.test": [METADATA],
    "own.test": [PUBLIC4],
}
BLOCKED = (
    *LISTENING,
    "::ffff:127.0.0.1",
    f"::ffff:{PRIVATE4}",
    "0.0.0.0",  # noqa: S104 - a destination here
    "::",
    "localhost",
    "a.localhost",
    *NAMES,
)
MOVING = {
    "moves.test": [FAR4, "127.0.0.1"],
    "moves6.test": [FAR6, "::1"],
    "moves-mapped.test": [FAR6, "::ffff:127.0.0.1"],
    "moves-twice.test": [FAR4, PRIVATE4, METADATA],
    "moves-here.test": [FAR4, PUBLIC4],
}
NOT_ADDRESSES = ("127.1", "2130706433", "0x7f000001", "017700000001", "127.0.0.1.")

_ALLOWED = ("127.0.0.1", "127.0.0.2")


@dataclass(frozen=True)
class Scene:
    """A server with its key, and who listens: `blocked` everywhere in it, `allowed` by allowance, `far` outside."""

    api: httpx.Client
    api_port: int
    xray_socket: Path
    kind_of: Callable[[Path], str]
    """A file's kind and mode, as `stat --format "%F %a"` on the server's machine prints them."""
    log: Callable[[], str]
    link: VlessLink
    blocked: Listener
    allowed: Listener
    far: Listener
    names: Names
    is_guarded: bool


@dataclass(frozen=True)
class _Places:
    """All that is around a server."""

    blocked: Listener
    allowed: Listener
    far: Listener
    names: Names


def _furnish(stack: ExitStack, room: Room, allowed_port: int) -> _Places:
    blocked = stack.enter_context(Listener(LISTENING))
    allowed = stack.enter_context(Listener(_ALLOWED, allowed_port))
    with room.far():
        far = stack.enter_context(Listener([FAR4, FAR6], blocked.port))
    names = Names({name: list(places) for name, places in (NAMES | MOVING | {"far.test": [FAR4]}).items()})
    stack.callback(names.close)
    return _Places(blocked, allowed, far, names)


def _rules(port: int) -> Sequence[str]:
    return [f"{host}/32:{port}" for host in _ALLOWED]


@contextmanager
def on_this_host(directory: Path, *, is_guarded: bool) -> Iterator[Scene]:
    """A service in a network of its own, with the kernel's guard or without it."""
    with ExitStack() as stack:
        room = stack.enter_context(Room())
        port = free_port()
        places = _furnish(stack, room, port)
        target = stack.enter_context(RealityTarget(["site.test"]))
        settings = {"VPNKEYS_XRAY_BIN": str(xray_asking_the_room(directory))}
        service = Service(target, egress_allow=_rules(port), settings=settings)
        service.env["VPNKEYS_LISTEN"] = f"0.0.0.0:{service.address[1]}"
        if not is_guarded:
            service.env["PATH"] = str(directory / "nothing-here")
        stack.enter_context(service)
        service.wait_ready()
        yield Scene(
            api=service.client,
            api_port=service.address[1],
            xray_socket=service.data_dir / "run" / "api.sock",
            kind_of=_kind_of,
            log=service.log,
            link=_link(service.client),
            **vars(places),
            is_guarded=is_guarded,
        )


def _kind_of(path: Path) -> str:
    assert path.is_socket()
    return f"socket {path.stat().st_mode & 0o777:o}"


class _Walled(Installed):
    """An installation whose machine is plugged into a room, and asks `Names` for names."""

    def __init__(self, allowed_port: int) -> None:
        """Describe it. Raises NoGuestError where there cannot be a guest."""
        super().__init__(_rules(allowed_port))
        resolv = self.guest.root / "etc/resolv.conf"
        resolv.unlink(missing_ok=True)
        resolv.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")

    def _set_up(self) -> None:
        self.room = self._network.enter_context(Room(Path(f"/proc/{self.guest.init}/ns/net")))
        super()._set_up()


@contextmanager
def in_a_guest() -> Iterator[Scene]:
    """A server as `./run --install` leaves it on a machine that was booted. Raises NoGuestError where none can be."""
    port = free_port()
    with ExitStack() as stack:
        site = stack.enter_context(_Walled(port))
        places = _furnish(stack, site.room, port)
        (api_key,) = re.findall(r"API key, shown this once: (\S+)", site.first_words)
        api = httpx.Client(
            base_url="https://127.0.0.1:8000",
            headers={"X-API-Key": api_key},
            verify=False,  # noqa: S501 - in the guest
            trust_env=False,
            timeout=60.0,
        )
        stack.enter_context(api)
        yield Scene(
            api=api,
            api_port=8000,
            xray_socket=Path("/var/lib/vpnkeys/run/api.sock"),
            kind_of=lambda path: site.guest.ok("stat", "--format=%F %a", str(path)).strip(),
            log=site.journal,
            link=_link(api),
            **vars(places),
            is_guarded=True,
        )


def _link(api: httpx.Client) -> VlessLink:
    answer = api.post("/api/keys", json={"name": "customer"})
    assert answer.status_code == httpx.codes.OK, answer.text
    config = api.get(f"/api/keys/{answer.json()['id']}/config")
    return VlessLink.parse(config.json()["vless_url"])
