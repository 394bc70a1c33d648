"""`vpnkeys traffic collect`: counts traffic for a timer, whether or not the server runs."""

import json
import os
from datetime import UTC, datetime
from typing import Annotated

import typer

from vpnkeys.cli.failures import UNAVAILABLE, USAGE, Failed
from vpnkeys.cli.values import to_second
from vpnkeys.domain.errors import VpnKeysError
from vpnkeys.owner import as_owner
from vpnkeys.settings import SettingsError, load_settings, set_data_dir


def collect(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a line.")] = False) -> None:
    """Add Xray's counters to the totals of all keys; run it on the server's machine, with its settings, as its user.

    It may run at any time, beside the server and beside itself: no byte is counted twice.

    Exit codes: 0 done; 2 wrong command line or settings, or no database of this version; 3 Xray or the database does
    not answer, and nothing was changed.
    """
    # Imported here, because it takes far longer than the imports of the commands `show` and `reset`.
    from vpnkeys.ops.offline import collect_traffic  # noqa: PLC0415

    os.umask(0o077)  # SQLite creates its files with this mask
    try:
        with as_owner(set_data_dir()):
            collect_traffic(load_settings())
    except SettingsError as error:
        raise Failed(str(error), USAGE, code="settings") from error
    except VpnKeysError as error:
        raise Failed(str(error), UNAVAILABLE, code=error.code) from error
    now = datetime.now(UTC)
    document = json.dumps({"status": "success", "timestamp": f"{now:%Y-%m-%dT%H:%M:%S}"})
    print(document if as_json else f"Traffic counted at {to_second(now)}.")
