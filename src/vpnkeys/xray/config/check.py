"""Asks Xray whether it would start with a configuration."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from vpnkeys.domain.errors import ConfigRefused
from vpnkeys.xray.host.programs import answer_of

Checker = Callable[[Path], None]
"""Checks a file; raises ConfigRefused when Xray would not start with it, ConfigUntested when that is not known."""

_CHECK_TIMEOUT_S = 20.0


class ConfigUntested(ConfigRefused):
    """Xray's own test could not be run, which says nothing about the file."""


def xray_checker(xray: Path, say: Callable[[str], None] = lambda _line: None) -> Checker:
    """Return a checker that runs `xray run -test`, 16 ms at 26.3.27; `say` gets a line when it takes longer."""
    # It finds bad JSON, bad short ids, doubled tags and emails, but no doubled ports; those are our own to prevent.

    def check(path: Path) -> None:
        command = [str(xray), "run", "-test", "-format", "json", "-c", str(path)]
        try:
            done = answer_of(command, within_s=_CHECK_TIMEOUT_S, say=say)
        except subprocess.TimeoutExpired as error:
            msg = (
                f"{xray} did not finish its own test of config.json within {_CHECK_TIMEOUT_S:.0f} s, so it seems to "
                "hang: try `xray version` by hand, and set VPNKEYS_XRAY_BIN to an Xray that works."
            )
            raise ConfigUntested(msg) from error
        except OSError as error:
            msg = f"Xray's own test of config.json could not be run: {error}"
            raise ConfigUntested(msg) from error
        if done.returncode != 0:
            lines = (done.stderr + done.stdout).strip().splitlines() or ["no reason given"]
            msg = f"Xray refuses config.json: {lines[-1]}"
            raise ConfigRefused(msg)

    return check
