"""A real Xray with many users, whose clients are this process: VLESS without TLS, as small as it can be."""

from __future__ import annotations

import json
import socket
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.binaries import xray_binary
from tests.support.ports import free_port
from tests.support.process import ChildProcess, wait_until
from vpnkeys.domain.errors import XrayUnavailable
from vpnkeys.xray.rpc.control import XrayControl

_PIECE = b"x" * 100
INBOUND = "users"


@dataclass
class ManyUsers:
    """So many users; entering the context starts Xray."""

    directory: Path
    count: int
    uuids: list[str] = field(init=False)

    def __post_init__(self) -> None:
        """Name the users."""
        self.uuids = [str(uuid.uuid4()) for _ in range(self.count)]
        self.api, self._port = self.directory / "api.sock", free_port()
        self._far_end = socket.create_server(("127.0.0.1", 0), backlog=128)

    def use(self, *uuids: str) -> None:
        """A hundred bytes up, and a hundred down, on a connection each."""
        port = self._far_end.getsockname()[1]
        for one in uuids:
            # version, UUID, no addons, TCP, port, IPv4 (https://xtls.github.io/en/development/protocols/vless.html)
            address = port.to_bytes(2, "big") + b"\1" + socket.inet_aton("127.0.0.1")
            head = b"\0" + uuid.UUID(one).bytes + b"\0\1" + address
            with socket.create_connection(("127.0.0.1", self._port), timeout=10) as customer:
                customer.sendall(head + _PIECE)
                answer = b""
                while len(answer) < 2 + len(_PIECE):  # two bytes of VLESS's own
                    answer += customer.recv(4096)

    def _echo(self) -> None:
        while True:
            try:
                sock, _ = self._far_end.accept()
            except OSError:
                return
            with sock:
                sock.sendall(sock.recv(4096))

    def _config(self) -> dict[str, object]:
        clients = [{"id": one, "email": one} for one in self.uuids]
        counted = {"statsUserUplink": True, "statsUserDownlink": True, "statsUserOnline": True}
        api = {"address": "127.0.0.1", "port": 1, "network": "unix"}
        return {
            "stats": {},
            "api": {"tag": "api", "services": ["HandlerService", "StatsService"]},
            "policy": {"levels": {"0": counted}},
            "inbounds": [
                {"tag": "api", "listen": f"{self.api},0600", "protocol": "dokodemo-door", "settings": api},
                {
                    "tag": INBOUND,
                    "listen": "127.0.0.1",
                    "port": self._port,
                    "protocol": "vless",
                    "settings": {"decryption": "none", "clients": clients},
                },
            ],
            "outbounds": [{"protocol": "freedom"}],
            "routing": {"rules": [{"type": "field", "inboundTag": ["api"], "outboundTag": "api"}]},
        }

    def __enter__(self) -> Self:
        """Start Xray and the far end."""
        file = self.directory / "config.json"
        file.write_text(json.dumps(self._config()))
        command = [str(xray_binary()), "run", "-c", str(file)]
        self._child = ChildProcess(command, name="xray", log_path=self.directory / "log", cwd=self.directory)
        threading.Thread(target=self._echo, daemon=True).start()
        self.control = XrayControl(self.api)
        assert wait_until(self._answers), self._child.log()
        return self

    def _answers(self) -> bool:
        try:
            self.control.ping()
        except XrayUnavailable:
            return False
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End both."""
        self.control.close()
        self._child.stop()
        self._far_end.close()
