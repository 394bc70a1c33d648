"""`vpnkeys traffic collect`: counts traffic for a timer, whether or not the server runs."""

import json
import os
import sys
from datetime import UTC, datetime
from typing import Annotated, NoReturn

import typer

from vpnkeys.domain.errors import VpnKeysError
from vpnkeys.owner import as_owner
from vpnkeys.settings import SettingsError, load_settings, set_data_dir

_SETTINGS, _UNAVAILABLE = 2, 3


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
        _fail("settings", str(error), _SETTINGS, as_json=as_json)
    except VpnKeysError as error:
        _fail(error.code, str(error), _UNAVAILABLE, as_json=as_json)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    print(json.dumps({"status": "success", "timestamp": now}) if as_json else f"Traffic counted at {now} UTC.")


def _fail(code: str, detail: str, status: int, *, as_json: bool) -> NoReturn:
    document = json.dumps({"error": {"code": code, "detail": detail}}, ensure_ascii=False)
    print(document if as_json else f"vpnkeys: {detail}", file=sys.stderr)
    raise typer.Exit(status)
