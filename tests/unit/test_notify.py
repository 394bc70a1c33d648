"""What a service manager hears, told by a socket in its place."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fake_store import FakeStore

from vpnkeys.cli.commands.serve import answers
from vpnkeys.server.notify import Notifier, notifier_of

WELL, ILL = "Serving", "The database does not answer"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Whoever listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(60)
        yield listener


def notifier(manager: socket.socket, watchdog_s: float | None = None) -> Notifier:
    """One that tells it."""
    return Notifier(manager.getsockname(), watchdog_s)


def heard(manager: socket.socket) -> list[str]:
    """The states of the next message."""
    return manager.recv(4096).decode().split("\n")


def test_states_are_told_in_one_message(manager: socket.socket) -> None:
    """So that a state and its words arrive together."""
    notifier(manager).tell("STOPPING=1", "STATUS=Ending")
    assert heard(manager) == ["STOPPING=1", "STATUS=Ending"]


def test_an_abstract_address_is_understood() -> None:
    """Containers use them."""
    name = f"vpnkeys-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        listener.settimeout(60)
        Notifier(f"@{name}").tell("READY=1")
        assert heard(listener) == ["READY=1"]


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    """Most of the time nobody listens, and one that went away is no reason to fall."""
    Notifier().tell("READY=1")
    Notifier(str(tmp_path / "gone")).tell("READY=1")
    asyncio.run(Notifier(watchdog_s=0.01).accompany(lambda: True, WELL, ILL))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Notifier()),
        ({"NOTIFY_SOCKET": "/n"}, Notifier("/n")),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "30000000"}, Notifier("/n", 30.0)),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, Notifier("/n", 30.0)),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, Notifier("/n")),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "soon"}, Notifier("/n")),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "0"}, Notifier("/n")),
    ],
)
def test_the_environment_says_who_and_how_often(environment: dict[str, str], expected: Notifier) -> None:
    """As systemd sets it; what is meant for another process is not for us."""
    assert notifier_of(environment) == expected


def _accompany(manager: socket.socket, is_alive: list[bool], seconds: float, watchdog_s: float | None) -> None:
    async def work() -> None:
        async with asyncio.timeout(seconds):
            await notifier(manager, watchdog_s).accompany(lambda: is_alive[0], WELL, ILL)
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        asyncio.run(work())


def test_ready_is_told_once_and_life_at_half_time(manager: socket.socket) -> None:
    """Twice in each period at least, so that one may be late."""
    _accompany(manager, [True], 2.0, 0.4)
    assert heard(manager) == ["READY=1", f"STATUS={WELL}"]
    manager.setblocking(False)
    signs = []
    while True:
        try:
            signs.append(heard(manager))
        except BlockingIOError:
            break
    assert 3 <= len(signs) <= 11
    assert all(sign == ["WATCHDOG=1", f"STATUS={WELL}"] for sign in signs)


def test_without_a_watchdog_only_ready_is_told(manager: socket.socket) -> None:
    """Nobody asked for more."""
    _accompany(manager, [True], 0.3, None)
    assert heard(manager) == ["READY=1", f"STATUS={WELL}"]
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        heard(manager)


def test_no_sign_of_life_while_the_database_is_silent(manager: socket.socket) -> None:
    """The manager shows why, and hears of life again when there is some."""
    is_alive = [False]
    thread = threading.Thread(target=_accompany, args=(manager, is_alive, 2.0, 0.1))
    thread.start()
    assert heard(manager) == ["READY=1", f"STATUS={WELL}"]
    for _ in range(3):
        assert heard(manager) == [f"STATUS={ILL}"]
    is_alive[0] = True
    while (sign := heard(manager)) == [f"STATUS={ILL}"]:
        pass
    assert sign == ["WATCHDOG=1", f"STATUS={WELL}"]
    thread.join()


def test_an_agent_tells_the_same_without_an_event_loop(manager: socket.socket) -> None:
    """Ready at once; then life as long as its database answers, until it is asked to end."""
    is_alive, ended = [False], threading.Event()
    arguments = (ended, lambda: is_alive[0], WELL, ILL)
    thread = threading.Thread(target=notifier(manager, 0.1).accompany_until, args=arguments)
    thread.start()
    assert heard(manager) == ["READY=1", f"STATUS={WELL}"]
    assert heard(manager) == [f"STATUS={ILL}"]
    is_alive[0] = True
    while (sign := heard(manager)) == [f"STATUS={ILL}"]:
        pass
    assert sign == ["WATCHDOG=1", f"STATUS={WELL}"]
    ended.set()
    thread.join()


def test_no_sign_of_life_while_the_event_loop_hangs(manager: socket.socket) -> None:
    """A loop that serves nobody does not say that it lives."""
    manager.setblocking(False)

    async def work() -> None:
        task = asyncio.create_task(notifier(manager, 0.1).accompany(lambda: True, WELL, ILL))
        await asyncio.sleep(0.3)
        while True:
            try:
                heard(manager)
            except BlockingIOError:
                break
        time.sleep(0.5)  # noqa: ASYNC251 - this is the hanging
        with pytest.raises(BlockingIOError):
            heard(manager)
        task.cancel()

    asyncio.run(work())


def test_the_server_is_alive_while_its_database_answers() -> None:
    """That is what only a restart of the server may help."""
    store = FakeStore()
    assert answers(store)
    store.memory.answering = False
    assert not answers(store)


def test_a_database_elsewhere_says_nothing_about_the_server() -> None:
    """A restart would not help, and would lose the stops that it has not taken yet."""
    store = FakeStore(is_remote=True)
    store.memory.answering = False
    assert answers(store)
