"""What the tests against the real service share: a REALITY target, far ends, a service, clients."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.support.clients import Client, SingBoxClient, XrayClient
from tests.support.service import Service
from tests.support.streams import ByteServer, Echo
from tests.support.target import RealityTarget

SERVER_NAMES = ("one.example.com", "two.example.com")

# Xray's probe of a target reads until it is closed, five seconds at most, and clients wait for it.
_CLOSE_IDLE_S = 0.1

_LONGEST_FIRST = (
    "tests/e2e/test_install.py",
    "tests/e2e/test_crash.py",
    "tests/web/",
    "tests/api/test_schema.py",
    "tests/e2e/",
)


def pytest_configure() -> None:
    """Let children be interrupted, also where the tests run in the background of a shell.

    Such a shell ignores SIGINT for its jobs, and a child inherits that for good; a handler is reset when it starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first, so that workers side by side end together."""

    def place(item: pytest.Item) -> int:
        return next((at for at, long in enumerate(_LONGEST_FIRST) if item.nodeid.startswith(long)), len(_LONGEST_FIRST))

    items.sort(key=place)


@pytest.fixture(scope="session")
def target() -> Iterator[RealityTarget]:
    """A good target of two names, whose probes are over at once."""
    with RealityTarget(SERVER_NAMES, close_idle_s=_CLOSE_IDLE_S) as target:
        yield target


@pytest.fixture(scope="session")
def byte_server() -> Iterator[ByteServer]:
    """Takes and gives known bytes."""
    with ByteServer() as server:
        yield server


@pytest.fixture(scope="session")
def tls_byte_server() -> Iterator[ByteServer]:
    """The same inside TLS 1.3, which Vision treats in its own way."""
    with ByteServer(tls=True) as server:
        yield server


@pytest.fixture(scope="session")
def echo() -> Iterator[Echo]:
    """Sends back what it gets."""
    with Echo() as server:
        yield server


@pytest.fixture(scope="session")
def egress(byte_server: ByteServer, tls_byte_server: ByteServer, echo: Echo) -> tuple[str, ...]:
    """The far ends as private destinations that customers may reach."""
    return byte_server.egress_rule, tls_byte_server.egress_rule, echo.egress_rule


@pytest.fixture(scope="module")
def service(target: RealityTarget, egress: tuple[str, ...]) -> Iterator[Service]:
    """A service of a module's own, all its server names ready."""
    with Service(target, egress_allow=egress) as service:
        service.wait_ready()
        yield service


@pytest.fixture(scope="module", params=[XrayClient, SingBoxClient], ids=["xray", "sing-box"])
def client_type(request: pytest.FixtureRequest) -> type[Client]:
    """Each of the two implementations of a client."""
    client: type[Client] = request.param
    return client
