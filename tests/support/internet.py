"""An internet of the tests' own for a guest: sites at public addresses, customers, and a cable to the guest.

The guest gets a public address and a default route, and knows the sites' names from its /etc/hosts. Nothing of it is
seen outside the two network namespaces.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import process
from tests.support.guest import Guest
from tests.support.room import _CLONE_NEWNET, FAR4, PUBLIC4, _checked, _enter, _here, _ip, _libc
from tests.support.streams import ByteServer
from tests.support.target import RealityTarget

_HTTPS = 443


class Internet:
    """Inside the context the calling thread, and whatever it starts, lives where customers live.

    `bytes` is a site that customers want to reach; `names` are well-known sites with TLS 1.3 and h2.
    """

    def __init__(self, guest: Guest, names: Sequence[str]) -> None:
        """Describe it; the guest has been booted."""
        self._guest = guest
        self._names = tuple(names)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Lay the cable and open the sites."""
        try:
            self._move_in()
            self._plug_in()
            # Xray's probe of a target reads until it is closed, five seconds at most.
            target = RealityTarget(self._names, host=FAR4, port=_HTTPS, close_idle_s=0.1)
            self.bytes = self._stack.enter_context(ByteServer(FAR4))
            self._make_known(self._stack.enter_context(target).ca_file)
        except BaseException:
            self._stack.close()
            raise
        return self

    def _move_in(self) -> None:
        home = _here()
        self._stack.callback(os.close, home)
        _checked(_libc.unshare(_CLONE_NEWNET))
        self._stack.callback(_enter, home)
        here = _here()
        self._stack.callback(os.close, here)
        process._spawner.submit(_enter, here).result()
        self._stack.callback(lambda: process._spawner.submit(_enter, home).result())

    def _plug_in(self) -> None:
        _ip(
            "link set lo up",
            f"link add far type veth peer name public netns {self._guest.init}",
            "link set far up",
            f"addr add {FAR4}/24 dev far",
        )
        # The namespace takes it away as well, but some time later: the next one's cable has the same name in the guest.
        self._stack.callback(_ip, "link del far")
        for command in (
            "link set public up",
            f"addr add {PUBLIC4}/24 dev public",
            f"route add default via {FAR4}",
        ):
            self._guest.ok("ip", *command.split())

    def _make_known(self, ca_file: Path) -> None:
        """What a real host has by itself: names of sites, and the authorities that vouch for them."""
        root = self._guest.root
        lines = "".join(f"{FAR4} {name}\n" for name in self._names)
        hosts = root / "etc/hosts"
        hosts.write_text(f"127.0.0.1 localhost\n{lines}")
        trusted = root / "etc/ssl/certs/ca-certificates.crt"
        trusted.parent.mkdir(parents=True, exist_ok=True)
        trusted.write_bytes(ca_file.read_bytes())
        subprocess.run(["ln", "-sfn", "/etc/ssl/certs/ca-certificates.crt", root / "usr/lib/ssl/cert.pem"], check=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the sites, take the cable away, and go home."""
        self._stack.close()
