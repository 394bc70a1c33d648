"""How an Xray of its own is started: when, with which file, and what is noted of it."""

import os
import socket
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.support.ports import reserve_range
from tests.support.process import wait_until
from tests.unit.test_config import inbound_of

from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.domain.portpool import PortRange
from vpnkeys.xray.config.document import BaseConfig, merge
from vpnkeys.xray.config.file import base_digest
from vpnkeys.xray.config.start import StartFile
from vpnkeys.xray.host.guard import Guard, Policy
from vpnkeys.xray.host.processes import epoch_of
from vpnkeys.xray.process.launch import (
    Launcher,
    Start,
    last_start,
    quick_exits_before,
    record_path,
    sockets_in,
    xray_environment,
)

POOL = PortRange(10001, 10100)
MARK = 1 << 25


def document(*ports: int, pool: PortRange = POOL, **base: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of BaseConfig
    """What the server writes for keys on these ports."""
    return merge(
        {}, BaseConfig("/run/api.sock", pool, **base), [replace(inbound_of(port), tag=f"key-{port}") for port in ports]
    )


@dataclass(slots=True)
class Launching:
    """A launcher on a data directory of its own, and what it said."""

    data_dir: Path
    pool: PortRange = POOL
    said: list[str] = field(default_factory=list)
    chosen: list[Path] = field(default_factory=list)

    @property
    def run(self) -> Path:
        """Where sockets are."""
        return self.data_dir / "run"

    @property
    def launcher(self) -> Launcher:
        """The one under test."""
        guard = Guard("vpnkeys_unit_test", Policy(MARK))
        base = BaseConfig("/run/api.sock", self.pool, egress_allow=(("10.0.0.0/8", 53),))
        file = StartFile(self.data_dir / "config.json", lambda _: base, lambda _: None, self.said.append)
        return Launcher(self.data_dir, sockets_in(self.run, 2), guard, file, self.said.append)

    def put(self, content: object) -> None:
        """Write config.json, as the server does: from one moment to the next."""
        fresh = self.data_dir / "fresh"
        fresh.write_bytes(orjson.dumps(content))
        fresh.replace(self.data_dir / "config.json")

    def prepare_in_background(self) -> threading.Thread:
        """Begin; what was chosen is kept."""
        thread = threading.Thread(target=lambda: self.chosen.append(self.launcher.prepare()), daemon=True)
        thread.start()
        return thread


@pytest.fixture
def launching(tmp_path: Path) -> Launching:
    """Nothing is there yet."""
    return Launching(tmp_path)


def test_it_waits_for_a_whole_config_and_says_so_once(launching: Launching) -> None:
    """Neither a missing file nor a broken one is anything to start with."""
    thread = launching.prepare_in_background()
    assert wait_until(lambda: bool(launching.said))
    (launching.data_dir / "config.json").write_text("{")
    thread.join(0.5)
    assert launching.chosen == []
    launching.put(document(10001))
    thread.join(10)
    assert launching.chosen == [launching.data_dir / "config.json"]
    assert len(launching.said) == 1
    assert "Xray waits for a config.json" in launching.said[0]


def test_it_waits_for_the_guard_that_the_config_relies_on(
    launching: Launching, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the kernel cannot be asked, nothing starts that marks its packets; without marks there is no need."""
    monkeypatch.setenv("PATH", str(tmp_path))
    launching.put(document(10001, mark=MARK))
    thread = launching.prepare_in_background()
    assert wait_until(lambda: bool(launching.said))
    assert "CAP_NET_ADMIN" in launching.said[0]
    thread.join(0.5)
    assert launching.chosen == []
    launching.put(document(10001))
    thread.join(10)
    assert launching.chosen == [launching.data_dir / "config.json"]


def test_the_start_is_noted(launching: Launching) -> None:
    """For this very process, which is about to become Xray, with the base of the file; a broken note is none."""
    content = document(10001)
    launching.put(content)
    launching.launcher.prepare()
    start = last_start(launching.run)
    assert start is not None
    assert (start.epoch, start.quick_exits) == (epoch_of(os.getpid()), 0)
    assert start.base == base_digest(content)
    for broken in ("{", "{}", "[]", '{"epoch": 1}'):
        record_path(launching.run).write_text(broken)
        assert last_start(launching.run) is None


def test_a_frame_is_what_is_not_of_keys() -> None:
    """Keys come and go without a restart of Xray; whatever else changes needs one. The order of sections is nothing."""
    before = base_digest(document(10001))
    assert base_digest(document(10002, 10003)) == before
    assert base_digest(dict(reversed(document(10001).items()))) == before
    foreign = document(10001)
    foreign["inbounds"].append({"tag": "mine", "port": 1080, "protocol": "socks"})
    for other in (document(10001, egress_allow=(("10.0.0.0/8", 53),)), document(10001, mark=MARK), foreign):
        assert base_digest(other) != before


@pytest.mark.parametrize(
    ("age_s", "before", "expected"), [(0, 0, 1), (9.9, 4, 5), (10, 4, 0), (3600, 1, 0), (-1, 1, 0), (None, 0, 0)]
)
def test_quick_exits_in_a_row_are_counted(age_s: float | None, before: int, expected: int) -> None:
    """Up to ten seconds is young; one that grew up, a clock that went back, and no note at all begin anew."""
    last = None if age_s is None else Start("a-1-1", "", before, 1000.0 - age_s)
    assert quick_exits_before(last, 1000.0, "base") == expected


def test_quick_exits_of_another_configuration_do_not_count() -> None:
    """What the operator has corrected is tried at the next start."""
    last = Start("a-1-1", "before", 4, 999.0)
    assert [quick_exits_before(last, 1000.0, base) for base in ("before", "after")] == [5, 0]


def test_after_a_young_death_it_starts_with_what_can_listen(launching: Launching) -> None:
    """What another program keeps from listening is left out, as is what is damaged; all else stays as it is."""
    ports = reserve_range(2)
    launching.pool = PortRange(ports[0], ports[-1])
    content = document(*ports, pool=launching.pool, egress_allow=(("10.0.0.0/8", 53),))
    damaged, foreign = {"tag": "key-damaged", "port": "x"}, {"tag": "mine", "port": 1080}
    launching.put({**content, "inbounds": [*content["inbounds"], damaged, foreign]})
    assert launching.launcher.prepare() == launching.data_dir / "config.json"
    with socket.create_server(("127.0.0.1", ports[0])):
        start = launching.launcher.prepare()
    assert start != launching.data_dir / "config.json"
    api, lost, kept = content["inbounds"]
    assert orjson.loads(start.read_bytes()) == {**content, "inbounds": [api, kept, foreign]}
    assert lost not in orjson.loads(start.read_bytes())["inbounds"]
    started = last_start(launching.run)
    assert started is not None
    assert not started.is_bare
    assert base_digest(orjson.loads(start.read_bytes())) == base_digest(
        {**content, "inbounds": [*content["inbounds"], foreign]}
    )


def test_what_a_killed_xray_left_is_removed(launching: Launching) -> None:
    """Its sockets and their locks would keep the next life from starting; the server's own socket stays."""
    launching.put(document(10001))
    launching.run.mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(os.fspath(launching.run / "api.sock"))
    for name in ("api.sock.lock", "warm-0.sock", "warm-1.sock.lock", "admin.sock"):
        (launching.run / name).touch()
    launching.launcher.prepare()
    assert {path.name for path in launching.run.iterdir()} == {"admin.sock", "xray.json"}


def test_one_that_runs_is_left_alone(launching: Launching) -> None:
    """Two would share each port and one socket: whoever comes second is refused, and changes nothing."""
    launching.put(document(10001))
    launching.run.mkdir()
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(os.fspath(launching.run / "api.sock"))
        living.listen()
        with pytest.raises(XrayUnavailable, match="runs on"):
            launching.launcher.prepare()
    assert {path.name for path in launching.run.iterdir()} == {"api.sock"}


def test_xray_sees_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of our environment it gets what any program needs, and what makes it count in time."""
    monkeypatch.setenv("VPNKEYS_API_KEY", "very secret indeed")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    environment = xray_environment(Path("/ca.pem"))
    assert environment["SSL_CERT_FILE"] == "/ca.pem"
    assert environment["XRAY_BUF_SPLICE"] == "disable"
    assert environment.keys() <= {"PATH", "HOME", "LANG", "TZ", "SSL_CERT_FILE", "XRAY_BUF_SPLICE"}
