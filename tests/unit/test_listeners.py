"""Who listens on this host, from the kernel's tables."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from vpnkeys.xray.host.listeners import listeners


def test_who_has_only_inherited_a_socket_does_not_listen() -> None:
    """As a child does between its fork and its exec. Nor does a descriptor that is closed meanwhile hide the others."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        sleeper = [sys.executable, "-I", "-S", "-c", "import time; print(flush=True); time.sleep(60)"]
        with subprocess.Popen(sleeper, pass_fds=[listener.fileno()], stdout=subprocess.PIPE) as child:
            try:
                assert child.stdout is not None
                child.stdout.readline()  # it has the socket
                assert [one.pid for one in listeners()[port]] == [os.getpid()]
                listener.close()
                assert [one.pid for one in listeners()[port]] == [child.pid]
            finally:
                child.kill()
