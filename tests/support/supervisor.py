"""Keeps `vpnkeys xray run` running beside a service, as a service manager would: again whenever it has ended."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.support import procfs
from tests.support.process import ChildProcess, wait_until
from tests.support.service import Service
from tests.support.target import RealityTarget

SETTINGS = {"VPNKEYS_XRAY_SUPERVISOR": "systemd"}

_PAUSE_S = 0.1
_STOP_TIMEOUT_S = 10.0


class XraySupervisor:
    """The other unit, with the settings of a service; entering the context starts it."""

    def __init__(self, service: Service) -> None:
        """Prepare; `lives` are the processes in the order of their starts."""
        self._service = service
        self._binary = Path(service.env["VPNKEYS_XRAY_BIN"]).resolve()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep_running, name="supervisor", daemon=True)
        self.lives: list[ChildProcess] = []

    def _keep_running(self) -> None:
        while not self._ending.is_set():
            child = ChildProcess(
                [sys.executable, "-m", "vpnkeys", "xray", "run"],
                name="vpnkeys xray run",
                log_path=self._service.data_dir.parent / "xray-log",
                env=self._service.env,
                cwd=self._service.data_dir.parent,
            )
            self.lives.append(child)
            while child.running and not self._ending.wait(0.01):
                pass
            if child.running:
                child.stop()
            self._ending.wait(_PAUSE_S)

    @property
    def starts(self) -> int:
        """How often it was started so far."""
        return len(self.lives)

    def log(self) -> str:
        """What all lives have printed."""
        return self.lives[-1].log()

    def is_xray(self) -> bool:
        """Whether the present life has become Xray."""
        return bool(self.lives) and self.lives[-1].running and procfs.executable(self.lives[-1].pid) == self._binary

    def xray_pid(self) -> int:
        """The process id of Xray; waits for it."""
        assert wait_until(self.is_xray), f"no Xray: {self.log() if self.lives else 'never started'}"
        return self.lives[-1].pid

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End Xray and start it no more."""
        self._ending.set()
        self._thread.join(_STOP_TIMEOUT_S)


class Units(NamedTuple):
    """The server, and what keeps Xray running beside it."""

    service: Service
    supervisor: XraySupervisor

    def restart_server(self) -> None:
        """The server alone, in order."""
        assert self.service.stop() == 0
        self.service.start()
        self.service.wait_ready()


@contextmanager
def running_units(target: RealityTarget, egress: Sequence[str]) -> Iterator[Units]:
    """Both, ready."""
    with Service(target, egress_allow=egress, settings=SETTINGS) as service, XraySupervisor(service) as supervisor:
        service.wait_ready()
        yield Units(service, supervisor)
