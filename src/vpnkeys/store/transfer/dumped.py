"""Looks into a dump of PostgreSQL, before anything of it is restored."""

import re
from pathlib import Path

from vpnkeys.store.sql.migrate import is_known
from vpnkeys.store.transfer.programs import DumpFailed, path_of, run

_OURS = frozenset({"alembic_version", "keys"})
"""Tables that every version of ours has."""

_TABLE = re.compile(
    r"^\d+; \d+ \d+ TABLE (?!DATA |ATTACH )(?P<schema>.+?) (?P<table>alembic_version|keys) ", re.MULTILINE
)
_VERSION = re.compile(r"^(?:COPY .* FROM stdin;\n|INSERT INTO .* VALUES \(')(?P<version>[^\n']*)", re.MULTILINE)


def schemas_in(file: Path) -> tuple[str, ...]:
    """Return the schemas of a dump that have our tables in a version that we know. Raises DumpFailed when none has."""
    if not file.is_file():
        raise DumpFailed(f"there is no file {file}")
    found: dict[str, set[str]] = {}
    for one in _TABLE.finditer(run([path_of("pg_restore"), "--list", str(file)])):
        found.setdefault(one["schema"], set()).add(one["table"])
    versions = {schema: _version_in(file, schema) for schema, tables in found.items() if tables == _OURS}
    if not versions:
        raise DumpFailed(f"{file} holds no database of vpnkeys")
    known = tuple(schema for schema, version in versions.items() if is_known(version))
    if not known:
        said = ", ".join(versions.values())
        raise DumpFailed(f"{file} is of another version of vpnkeys, or of another program: its version is {said}")
    return known


def _version_in(file: Path, schema: str) -> str:
    """Return the revision of the tables in one of the schemas; "none" where there is none."""
    rows = ("--data-only", f"--schema={schema}", "--table=alembic_version", "--file=-")
    found = _VERSION.search(run([path_of("pg_restore"), *rows, str(file)]))
    return found["version"] if found else "none"
