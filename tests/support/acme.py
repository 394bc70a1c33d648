"""A real ACME authority on loopback: Pebble, with a name server of its own, and its failures switched on at will."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path

import httpx

from tests.support.binaries import pebble_binary
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.process import ChildProcess
from tests.support.started import Started

# Each check as soon as it is asked for, and none remembered for a later order.
_PLAIN = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0", "PEBBLE_WFE_NONCEREJECT": "0"}
_DAY_S = 86_400


class Pebble(Started):
    """The authority. It checks names at `http_port` and `tls_port`, where its own name server says.

    What it knows is in memory: after a `stop` and a `start` it has other keys, and no account.
    """

    def __init__(  # noqa: PLR0913 - all but the first are seldom given
        self,
        http_port: int,
        tls_port: int = 443,
        *,
        host: str = "127.0.0.1",
        address: str = "127.0.0.1",
        failures: Mapping[str, str] | None = None,
        short_lived: bool = False,
    ) -> None:
        """Describe it; `address` is what its name server answers to every name.

        With `short_lived` it has a profile for that; of several it takes one at random when none is asked for.
        """
        self._directory = Path(tempfile.mkdtemp(prefix="vpnkeys-acme-"))
        own = Authority(self._directory)
        self.ca_file = own.ca_file
        self._pair = own.issue(["localhost", host])
        self._host, self._address = host, address
        self._ports = {"http": http_port, "tls": tls_port, "acme": free_port(), "admin": free_port()}
        self._dns, self._dns_admin = free_port(), free_port()
        self._failures = dict(failures or {})
        self._is_short_lived = short_lived
        self._children: list[ChildProcess] = []

    @property
    def directory_url(self) -> str:
        """Where clients begin."""
        return f"https://{self._host}:{self._ports['acme']}/dir"

    def _config(self) -> Path:
        file = self._directory / "config.json"
        cert, key = map(str, self._pair)
        profiles = {"default": 90} | ({"shortlived": 6} if self._is_short_lived else {})
        settings = {
            "listenAddress": f"{self._host}:{self._ports['acme']}",
            "managementListenAddress": f"{self._host}:{self._ports['admin']}",
            "certificate": cert,
            "privateKey": key,
            "httpPort": self._ports["http"],
            "tlsPort": self._ports["tls"],
            "domainBlocklist": ["blocked.example.com"],
            "retryAfter": {"authz": 1, "order": 1},
            "keyAlgorithm": "ecdsa",
            "profiles": {
                name: {"description": name, "validityPeriod": days * _DAY_S} for name, days in profiles.items()
            },
        }
        file.write_text(json.dumps({"pebble": settings}))
        return file

    def start(self) -> None:
        """Run the name server and the authority."""
        quiet = [f"-{what}=" for what in ("http01", "https01", "tlsalpn01", "doh", "defaultIPv6")]
        dns = [f"-dnsserver={self._host}:{self._dns}", f"-management={self._host}:{self._dns_admin}"]
        names = self._run("pebble-challtestsrv", *quiet, *dns, f"-defaultIPv4={self._address}")
        names.wait_listening(self._host, self._dns)
        pebble = self._run("pebble", f"-config={self._config()}", f"-dnsserver={self._host}:{self._dns}")
        pebble.wait_listening(self._host, self._ports["acme"])
        pebble.wait_listening(self._host, self._ports["admin"])

    def _run(self, name: str, *arguments: str) -> ChildProcess:
        child = ChildProcess(
            [str(pebble_binary(name)), *arguments],
            name=name,
            log_path=self._directory / f"{name}.log",
            env={**os.environ, **_PLAIN, **self._failures},
        )
        self._children.append(child)
        return child

    def root(self) -> str:
        """The certificate of the authority that its certificates lead to, in PEM."""
        trusting = ssl.create_default_context(cafile=str(self.ca_file))
        url = f"https://{self._host}:{self._ports['admin']}/roots/0"
        return httpx.get(url, verify=trusting, trust_env=False).raise_for_status().text

    def lose(self, name: str) -> None:
        """Let the name server fail for one name."""
        self._tell("set-servfail", name)

    def find(self, name: str) -> None:
        """Let it answer again."""
        self._tell("clear-servfail", name)

    def _tell(self, what: str, name: str) -> None:
        url = f"http://{self._host}:{self._dns_admin}/{what}"
        httpx.post(url, json={"host": name}, trust_env=False).raise_for_status()

    def log(self) -> str:
        """What the authority has said."""
        return (self._directory / "pebble.log").read_text(errors="replace")

    def stop(self) -> None:
        """End both."""
        for child in self._children:
            child.stop()
        self._children.clear()

    def close(self) -> None:
        """End both and remove their files."""
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)
