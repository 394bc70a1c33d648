"""The removal of an installation. The data stay."""

import shutil
import subprocess
from pathlib import Path

from vpnkeys.install import services
from vpnkeys.install.host import Say, one_at_a_time
from vpnkeys.install.layout import Layout
from vpnkeys.xray.host.guard import table_of

_SOCKETS = Path("/run/vpnkeys")
"""RuntimeDirectory= of both units, which they leave to each other."""


def uninstall(layout: Layout, say: Say) -> None:
    """Stop and remove everything except the data and the user. It may be repeated. Raises InstallFailed."""
    with one_at_a_time():
        was_node = services.is_node(layout)
        services.remove_units(layout)
        _remove_tables(layout)
        layout.wrapper.unlink(missing_ok=True)
        shutil.rmtree(layout.opt, ignore_errors=True)
        shutil.rmtree(_SOCKETS, ignore_errors=True)
    kept = f"vpnkeys is removed. {layout.data_dir} and the user vpnkeys are kept: "
    if was_node:
        say(f"{kept}the same ./run --agent-join makes it the same node again, without a new token.")
        say("If it is not to come back, on the control plane: vpnkeys nodes rm NODE, when its keys are gone.")
    else:
        say(f"{kept}./run --install finds every key again.")
    say(f"To delete all keys and data for ever:  rm -rf {layout.data_dir} && userdel vpnkeys")


def _remove_tables(layout: Layout) -> None:
    """Delete the nft tables that the server keeps for Xray, also while the server is stopped; Xray has ended by now."""
    nft = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")
    for suffix in ("", "_speed", "_bounds"):
        if nft is not None:  # a table that is not there is as good as removed
            name = f"{table_of(layout.data_dir)}{suffix}"
            subprocess.run([nft, "delete", "table", "inet", name], capture_output=True, check=False)
