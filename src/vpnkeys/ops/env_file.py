"""Changes one setting in the operator's settings file."""

import re
from pathlib import Path

from vpnkeys.files import write_atomically
from vpnkeys.settings import ENVIRONMENT

ENV_FILE = "vpnkeys.env"


def is_overridden(name: str) -> bool:
    """Return whether the environment sets this, so that the file does not count."""
    return bool(ENVIRONMENT.get(name))


def set_in_env_file(data_dir: Path, name: str, value: str) -> None:
    """Set one setting in the file, in place of its line or as the last one; all other lines stay. Raises OSError."""
    path = data_dir / ENV_FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    kept = [line for line in lines if not re.match(rf"\s*(export\s+)?{re.escape(name)}\s*=", line)]
    # In single quotes nothing is special but they themselves, which a URL can do without.
    quoted = value.replace("'", "%27")
    write_atomically(path, "\n".join([*kept, f"{name}='{quoted}'", ""]).encode())
