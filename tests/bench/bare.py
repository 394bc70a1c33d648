"""The Xray of a service once more, started the same way, without mark and guard: the floor of what Xray does.

The mark is what the service's guard in the kernel knows its Xray's packets by, to judge each of them. Without it they
pass. Nothing samples or supervises this Xray.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.agreement import read_config
from tests.support.keys import Key, link_of
from tests.support.link import VlessLink
from tests.support.ports import free_port
from tests.support.process import ChildProcess
from tests.support.service import Service


class BareXray:
    """One key of the service on a port of its own; entering starts it."""

    def __init__(self, service: Service, key: Key, directory: Path) -> None:
        """Take over what the service's Xray was started with; it must be running."""
        self._port = free_port()
        self._directory = directory
        self._file = directory / "config.json"
        self._file.write_text(self._config(service, f"key-{key['id']}"), encoding="utf-8")
        process = Path("/proc") / str(service.xray_pid())
        entries = (process / "environ").read_text(encoding="utf-8").split("\0")
        self._environment = dict(entry.split("=", 1) for entry in entries if "=" in entry)
        self._program = str((process / "exe").readlink())
        self._child: ChildProcess | None = None
        self.link: VlessLink = replace(link_of(service, key), port=self._port)

    def _config(self, service: Service, tag: str) -> str:
        document = read_config(service)
        document["inbounds"] = [one for one in document["inbounds"] if one["tag"] in {"api", tag}]
        for inbound in document["inbounds"]:
            if inbound["tag"] == tag:
                inbound["port"] = self._port
        for outbound in document["outbounds"]:
            outbound.get("streamSettings", {}).get("sockopt", {}).pop("mark", None)
        return json.dumps(document).replace(str(service.data_dir / "run"), str(self._directory))

    def start(self) -> None:
        """Start it, and return at once."""
        (self._directory / "api.sock").unlink(missing_ok=True)
        self._child = ChildProcess(
            [self._program, "run", "-c", str(self._file)],
            name="bare Xray",
            log_path=self._directory / "log",
            env=self._environment,
        )

    def kill(self) -> None:
        """End it as a crash would."""
        if self._child is not None:
            self._child.kill()

    def __enter__(self) -> Self:
        """Start, and wait until it listens."""
        self.start()
        assert self._child is not None
        self._child.wait_listening("127.0.0.1", self._port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.kill()
