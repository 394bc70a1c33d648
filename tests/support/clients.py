"""Real VPN clients on one link or many: Xray, and sing-box as an independent implementation.

Each runs as its own process with one SOCKS5 port on loopback for every link. Both know nothing but
the link, as a customer's phone does.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.support.binaries import sing_box_binary, xray_binary
from tests.support.link import VlessLink
from tests.support.ports import free_port
from tests.support.process import PATIENCE_S, ChildProcess
from tests.support.socks import Address
from tests.support.started import Started

Config = dict[str, Any]

_LOOPBACK = "127.0.0.1"


class Client(Started):
    """A client process; a context manager that is ready when its own pid listens on every port."""

    def __init__(
        self,
        link: VlessLink | Sequence[VlessLink],
        *,
        source: str | None = None,
        ca_file: Path | None = None,
        timeout: float = PATIENCE_S,
    ) -> None:
        """Describe the client; entering the context starts it.

        `source` is the loopback address its connections to the server come from: Xray keeps no
        account of who is online for 127.0.0.1. `ca_file` lets the client trust the test target.
        """
        self.links = [link] if isinstance(link, VlessLink) else list(link)
        self._source = source
        self._ca_file = ca_file
        self._timeout = timeout
        self._directory = Path(tempfile.mkdtemp(prefix="vpnkeys-test-"))
        self._child: ChildProcess | None = None
        self.proxies: list[Address] = []

    @classmethod
    def many(
        cls,
        links: Sequence[VlessLink],
        *,
        source: str | None = None,
        ca_file: Path | None = None,
        timeout: float = PATIENCE_S,
    ) -> Self:
        """One process for several links: `proxies` holds one SOCKS port each, in their order."""
        return cls(links, source=source, ca_file=ca_file, timeout=timeout)

    @property
    def socks(self) -> Address:
        """The SOCKS port of the first link."""
        return self.proxies[0]

    @property
    def child(self) -> ChildProcess:
        """The running process."""
        if self._child is None:
            raise RuntimeError(f"{type(self).__name__} is not started")
        return self._child

    @property
    def pid(self) -> int:
        """Process id of the client."""
        return self.child.pid

    def log(self) -> str:
        """Everything the client has printed: why a connection failed stands here."""
        return self.child.log()

    @abstractmethod
    def config(self) -> Config:
        """The program's own configuration for the links and `proxies`."""

    def written(self) -> str:
        """The configuration as its file has it."""
        return json.dumps(self.config(), indent=1)

    @abstractmethod
    def _command(self, config_file: Path) -> list[str]:
        """The command line to run it with that configuration."""

    def start(self) -> None:
        """Run the client and wait for it."""
        self.proxies = [(_LOOPBACK, free_port()) for _ in self.links]
        config_file = self._directory / "config.json"
        config_file.write_text(self.written())
        # Nothing of the tests' environment may steer a client, least of all a proxy setting.
        env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        if self._ca_file is not None:
            env["SSL_CERT_FILE"] = str(self._ca_file)
        self._child = ChildProcess(
            self._command(config_file),
            name=type(self).__name__,
            log_path=self._directory / "log",
            env=env,
            cwd=self._directory,
        )
        for host, port in self.proxies:
            self._child.wait_listening(host, port, self._timeout)

    def close(self) -> None:
        """End the client and remove its files."""
        if self._child is not None:
            self._child.stop()
        shutil.rmtree(self._directory, ignore_errors=True)


class XrayClient(Client):
    """Xray as a client."""

    def _command(self, config_file: Path) -> list[str]:
        return [str(xray_binary()), "run", "-c", str(config_file)]

    def config(self) -> Config:
        """Xray's configuration."""
        rules = [{"type": "field", "inboundTag": [f"in{i}"], "outboundTag": f"out{i}"} for i in range(len(self.links))]
        return {
            "log": {"loglevel": "info"},
            "inbounds": [
                {
                    "tag": f"in{i}",
                    "listen": host,
                    "port": port,
                    "protocol": "socks",
                    "settings": {"auth": "noauth", "udp": True, "ip": host},
                }
                for i, (host, port) in enumerate(self.proxies)
            ],
            "outbounds": [self._outbound(i, link) for i, link in enumerate(self.links)],
            "routing": {"domainStrategy": "AsIs", "rules": rules},
        }

    def _outbound(self, number: int, link: VlessLink) -> Config:
        user = {"id": link.uuid, "encryption": "none", "flow": link.flow}
        outbound: Config = {
            "tag": f"out{number}",
            "protocol": "vless",
            "settings": {"vnext": [{"address": link.host, "port": link.port, "users": [user]}]},
            "streamSettings": {
                "network": "raw",
                "security": "reality",
                "realitySettings": {
                    "serverName": link.sni,
                    "fingerprint": link.fingerprint,
                    "publicKey": link.public_key,
                    "shortId": link.short_id,
                },
            },
        }
        if self._source is not None:
            outbound["sendThrough"] = self._source
        return outbound


class SingBoxClient(Client):
    """sing-box as a client."""

    def _command(self, config_file: Path) -> list[str]:
        return [str(sing_box_binary()), "run", "-c", str(config_file)]

    def config(self) -> Config:
        """sing-box's configuration."""
        return {
            "log": {"level": "debug"},
            "inbounds": [
                {"type": "socks", "tag": f"in{i}", "listen": host, "listen_port": port}
                for i, (host, port) in enumerate(self.proxies)
            ],
            "outbounds": [self._outbound(i, link) for i, link in enumerate(self.links)],
            "route": {
                "rules": [
                    {"inbound": [f"in{i}"], "action": "route", "outbound": f"out{i}"} for i in range(len(self.links))
                ]
            },
        }

    def _outbound(self, number: int, link: VlessLink) -> Config:
        outbound: Config = {
            "type": "vless",
            "tag": f"out{number}",
            "server": link.host,
            "server_port": link.port,
            "uuid": link.uuid,
            "flow": link.flow,
            "packet_encoding": "xudp",
            "tls": {
                "enabled": True,
                "server_name": link.sni,
                "utls": {"enabled": True, "fingerprint": link.fingerprint},
                "reality": {
                    "enabled": True,
                    "public_key": link.public_key,
                    "short_id": link.short_id,
                },
            },
        }
        if self._source is not None:
            outbound["inet4_bind_address"] = self._source
        return outbound
