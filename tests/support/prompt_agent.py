"""`vpnkeys agent` that reports every second, not every ten: what it has counted is soon seen by who waits for it."""

from __future__ import annotations

import sys

from vpnkeys.agent import agent
from vpnkeys.cli.main import main

if __name__ == "__main__":
    agent._REPORT_EVERY_S = 1.0  # type: ignore[misc]  # that is the point
    sys.argv = ["vpnkeys", "agent"]
    main()
