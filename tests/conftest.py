"""What the tests against the real service share: a REALITY target, far ends, a service, clients."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import HealthCheck, settings

import tests.support.service
from tests.support.clients import Client, SingBoxClient, XrayClient
from tests.support.parity import by_kind
from tests.support.ports import free_port
from tests.support.postgres import Cluster, missing, shared_cluster
from tests.support.service import Service
from tests.support.streams import ByteServer, Echo
from tests.support.target import RealityTarget

# Enough to find what there is to find every day, on two busy cores; nobody's machine is judged by its speed.
settings.register_profile("vpnkeys", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vpnkeys")

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


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let all services of the tests have their databases on PostgreSQL."""
    parser.addoption(
        "--database", choices=("sqlite", "postgresql"), default="sqlite", help="of the services under test"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Take ports, and let children be interrupted, also where the tests run in the background of a shell.

    Such a shell ignores SIGINT for its jobs, and a child inherits that for good; a handler is reset when it starts.
    """
    if not config.getoption("numprocesses", None):  # a worker's is None, that of whoever only distributes is not
        # Now, as the first test that asks for one may be in a network namespace of its own, where the lock is nobody's.
        free_port()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first, so that workers side by side end together."""

    def place(item: pytest.Item) -> int:
        return next((at for at, long in enumerate(_LONGEST_FIRST) if item.nodeid.startswith(long)), len(_LONGEST_FIRST))

    items.sort(key=place)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> None:
    """Let the report of a test say what the server answered, not only with which status."""
    if call.excinfo is not None and isinstance(call.excinfo.value, httpx.HTTPStatusError):
        call.excinfo.value.add_note(call.excinfo.value.response.text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests of the contract suite passed on each kind of database, where it was run."""
    passed = by_kind(report.nodeid for report in terminalreporter.stats.get("passed", ()))
    if any(passed.values()):
        told = ", ".join(f"{len(tests)} passed on {kind}" for kind, tests in passed.items())
        terminalreporter.write_line(f"the contract suite: {told}")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A PostgreSQL server, one for all workers; whoever stops it or changes its settings takes one of its own."""
    if why := missing():
        pytest.skip(why)
    base = tmp_path_factory.getbasetemp()
    with shared_cluster(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) as cluster:
        yield cluster


@pytest.fixture(scope="session", autouse=True)
def chosen_database(request: pytest.FixtureRequest) -> Iterator[None]:
    """The database of services for which the test does not choose another one (--database)."""
    if request.config.getoption("--database") == "postgresql":
        cluster: Cluster = request.getfixturevalue("postgres")
        tests.support.service.new_database = cluster.empty_database
    yield
    tests.support.service.new_database = None


@pytest.fixture(autouse=True)
def only_for_files(request: pytest.FixtureRequest) -> None:
    """A test that is about the file of the database has nothing to say about another one."""
    if request.node.get_closest_marker("sqlite") and request.config.getoption("--database") != "sqlite":
        pytest.skip("it is about the file of an SQLite database")


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
