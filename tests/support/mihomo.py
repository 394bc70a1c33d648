"""mihomo, which reads the configurations for Clash: how to get it, and how to run it.

`go install` asks for the list of a module's versions, which not every module proxy has for mihomo. So it is built as a
dependency of an empty module, which needs only the version itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.binaries import MIHOMO_VERSION, mihomo_path
from tests.support.clients import Client, Config
from tests.support.link import VlessLink
from vpnkeys.xray.process.gobuild import _find_go, tell, work_folder

_MODULE = "github.com/metacubex/mihomo"


def main() -> int:
    """Build mihomo into the cache, unless it is there."""
    program = mihomo_path()
    with work_folder(program.parent, tell) as work:
        if program.exists():
            return 0
        go, version, own = _find_go(work, tell)
        (work / "go.mod").write_text(f"module tests\n\ngo 1.26\n\nrequire {_MODULE} v{MIHOMO_VERSION}\n")
        environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", **own}
        tell(f"Building {_MODULE} with {version}; this takes some minutes.")
        command = [go, "build", "-mod=mod", "-trimpath", "-ldflags=-s -w", "-o", str(work / "mihomo"), _MODULE]
        subprocess.run(command, cwd=work, env=environment, check=True)
        (work / "mihomo").replace(program)
    return 0


def is_here() -> bool:
    """Whether mihomo can be run."""
    return os.access(mihomo_path(), os.X_OK)


def check(text: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Let mihomo itself read a configuration."""
    path = directory / "config.yaml"
    path.write_text(text)
    command = [str(mihomo_path()), "-t", "-d", str(directory), "-f", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


class MihomoClient(Client):
    """mihomo on a configuration exactly as it was served, but for the port that it listens on."""

    def __init__(self, served: str, link: VlessLink) -> None:
        super().__init__(link)
        self._served: dict[str, Any] = json.loads(served)

    def _command(self, config_file: Path) -> list[str]:
        return [str(mihomo_path()), "-d", str(config_file.parent), "-f", str(config_file)]

    def written(self) -> str:
        """As it is served: mihomo's YAML has no pairs of surrogates, as which JSON may write an emoji."""
        return json.dumps(self.config(), ensure_ascii=False)

    def config(self) -> Config:
        """What was served."""
        # A test's server is on loopback, which the rules for local networks would go by past the VPN.
        rules = [rule for rule in self._served["rules"] if not rule.endswith("DIRECT,no-resolve")]
        return {**self._served, "mixed-port": self.socks[1], "rules": rules}


if __name__ == "__main__":
    sys.exit(main())
