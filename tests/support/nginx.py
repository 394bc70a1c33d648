"""A real nginx in front of a service, with the very lines of the manual."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.support.binaries import nginx_binary
from tests.support.certificates import Authority
from tests.support.manual import EN, blocks_of
from tests.support.process import ChildProcess
from tests.support.started import Started

_CONFIG = """\
daemon off;
master_process off;
pid {directory}/pid;
error_log stderr notice;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        {locations}
    }}
}}
"""


class Nginx(Started):
    """nginx with the manual's example; `port` is where the public comes to."""

    def __init__(self, service_port: int, port: int, page: str = "install.md") -> None:
        """Describe it."""
        self._directory = Path(tempfile.mkdtemp(prefix="vpnkeys-nginx-"))
        authority = Authority(self._directory)
        self.ca_file = authority.ca_file
        cert, key = authority.issue(["127.0.0.1"])
        (example,) = (block.code for block in blocks_of(EN / page) if block.kind == "nginx")
        locations = example.replace("127.0.0.1:8000", f"127.0.0.1:{service_port}")
        config = _CONFIG.format(directory=self._directory, port=port, cert=cert, key=key, locations=locations)
        (self._directory / "nginx.conf").write_text(config)
        self.port = port
        self._child: ChildProcess | None = None

    def start(self) -> None:
        """Run it."""
        command = [str(nginx_binary()), "-p", str(self._directory), "-c", str(self._directory / "nginx.conf")]
        self._child = ChildProcess([*command, "-e", "stderr"], name="nginx", log_path=self._directory / "log")
        self._child.wait_listening("127.0.0.1", self.port)

    def close(self) -> None:
        """End it and remove its files."""
        if self._child is not None:
            self._child.stop()
        shutil.rmtree(self._directory, ignore_errors=True)
