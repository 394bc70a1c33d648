r"""Packs and unpacks backup files, and copies and checks the SQLite database in them.

Format 1, in this order:

    vpnkeys backup\n
    {"format": 1, "created_by": "1.0.0", "created_at": "2026-01-31T12:00:00Z", "encryption": null}\n
    {"members": [{"name": "vpnkeys.db", "size": 4096, "sha256": "..."}, ...]}\n     }  the body: a manifest,
    the members, one after the other, in the manifest's order                       }  and what it lists
    the SHA-256 of everything above, 32 raw bytes

With a passphrase `encryption` is {"kdf": "scrypt", "n": 32768, "r": 8, "p": 1, "salt": hex, "cipher": "aes-256-gcm",
"nonce": hex}, and the body is replaced by its ciphertext with the tag; the two lines above it are the associated data.
The SHA-256 at the end tells a damaged file from a wrong passphrase. It does not authenticate the file, as anybody can
compute it; the tag does.
"""

import hashlib
import json
import os
import re
import sqlite3
import tempfile
import unicodedata
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from vpnkeys.domain.errors import DatabaseDamaged, Rejected, StoreUnavailable
from vpnkeys.store.files.carrying import carry_counters
from vpnkeys.store.files.rows import Rows, migrated_rows
from vpnkeys.store.sql.faults import damaged, translated
from vpnkeys.store.sql.schema import foreign_parts, mistyped_column

DATABASE = "vpnkeys.db"
MEMBERS = (
    DATABASE, "reality.json", "api-key.json", "tls/cert.pem", "tls/key.pem", "acme/cert.pem", "acme/key.pem",
    "acme/account.pem", "vpnkeys.env",
)  # fmt: skip
"""The files that a backup may contain, by their paths in the data directory."""
COMPANIONS = ("-wal", "-shm", "-journal")
"""Files that SQLite keeps beside a database, and would apply to another database put in its place."""

_NAMED = 5
_MAGIC = b"vpnkeys backup\n"
_FORMAT = 1
_HEADER_MAX_BYTES = 4096
_DIGEST_BYTES = 32
_SALT_BYTES, _NONCE_BYTES = 16, 12
# 32 MB and about 0.1 s for each guess (RFC 7914). Written into the header, and compared on reading: other parameters
# from a file that was tampered with could take any amount of memory.
_KDF: Mapping[str, object] = {"kdf": "scrypt", "n": 2**15, "r": 8, "p": 1, "cipher": "aes-256-gcm"}
_HEX = re.compile(r"(?:[0-9a-f]{2})+")

_ALTERED = "it is damaged: truncated, or altered since it was made"
_FOREIGN = "it is no backup of vpnkeys"


class BackupRefused(Rejected):
    """Raised for a file that is not an intact backup, or that this version or installation cannot restore."""

    code = "backup_refused"


@dataclass(frozen=True, slots=True)
class Backup:
    """The contents of a backup: files by name, the version that made it, and when: ISO 8601 in UTC."""

    created_by: str
    created_at: str
    members: Mapping[str, bytes]


def pack(backup: Backup, passphrase: str | None = None) -> bytes:
    """Return the backup as the bytes of a file; encrypted and authenticated when a passphrase is given."""
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    encryption = None if passphrase is None else {**_KDF, "salt": salt.hex(), "nonce": nonce.hex()}
    header = {
        "format": _FORMAT,
        "created_by": backup.created_by,
        "created_at": backup.created_at,
        "encryption": encryption,
    }
    opening = _MAGIC + _line(header)
    listed = [
        {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in backup.members.items()
    ]
    body = b"".join((_line({"members": listed}), *backup.members.values()))
    if passphrase is not None:
        body = AESGCM(_derive(passphrase, salt)).encrypt(nonce, body, opening)
    return b"".join((opening, body, _digest(opening, body)))


def unpack(raw: bytes, passphrase: str | None = None) -> Backup:
    """Return the contents of a backup file; every byte of it is checked. Raises BackupRefused."""
    header, opening = _opening(raw)
    end = len(raw) - _DIGEST_BYTES
    view = memoryview(raw)
    if end < len(opening) or _digest(opening, view[len(opening) : end]) != raw[end:]:
        raise BackupRefused(_ALTERED)
    body = raw[len(opening) : end]
    if header["encryption"] is not None:
        body = _decrypted(header["encryption"], opening, body, passphrase)
    elif passphrase is not None:
        # Else an attacker could replace an encrypted backup by a plain one of his own, and it would be restored.
        msg = "it is not encrypted, and a passphrase was given: leave the passphrase out if that is as it should be"
        raise BackupRefused(msg)
    return Backup(str(header["created_by"]), str(header["created_at"]), _members(body))


def is_encrypted(raw: bytes) -> bool:
    """Return whether a passphrase is needed. Raises BackupRefused when the file is no backup."""
    return _opening(raw)[0]["encryption"] is not None


def copy_database(database: Path) -> bytes:
    """Return a consistent copy of an SQLite database, which others may write to meanwhile.

    Raises StoreUnavailable when it cannot be copied or is damaged, before a bad backup replaces a good one.
    """
    with tempfile.TemporaryDirectory(prefix="vpnkeys-") as directory:
        copy = Path(directory) / DATABASE
        try:
            # All pages in one step: a write between two steps makes the backup start again, under load for ever
            # (sqlite3_backup_step()). In WAL mode its read transaction does not hold up writers.
            uri = f"{database.absolute().as_uri()}?mode=rw"
            with closing(sqlite3.connect(uri, uri=True)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target, pages=-1)
            _check_integrity(copy)
        except sqlite3.Error as error:
            raise translated(error) or StoreUnavailable(f"The database {database} cannot be copied.") from error
        return copy.read_bytes()


def make_fit(database: Path, replaced: Path) -> Rows:
    """Check the database of a backup, migrate it to this version, and return what it grants. Raises BackupRefused.

    What its keys have used since, as `replaced` has it, is added: what a customer has used is not given back.

    Its schema is compared before anything else: until then it is only read, and nothing in it runs.

    Afterwards it is a single file, without -wal or -journal, and synced to disk.
    """
    try:
        _require_own_schema(database)
        _check_integrity(database)
        if wrong := mistyped_column(database):
            raise BackupRefused(f"its database was altered: {wrong} has a value that is none of its type")
        rows = migrated_rows(database)
        carry_counters(replaced, database)
    except (sqlite3.Error, DatabaseDamaged) as error:
        raise BackupRefused("its database is damaged; give another backup") from error
    except ValueError as error:
        raise BackupRefused(f"its database was altered: {error}; give another backup") from error
    if any(database.with_name(database.name + end).exists() for end in COMPANIONS):
        raise BackupRefused(
            "its database cannot be made one file: another process has it open; end that one and try again"
        )
    with database.open("rb+") as file:
        os.fsync(file.fileno())
    return rows


def _require_own_schema(database: Path) -> None:
    try:
        foreign = foreign_parts(database)
    except DatabaseDamaged:
        raise
    except StoreUnavailable as error:
        raise BackupRefused(f"its database is from a newer vpnkeys; use that version: {error}") from error
    if foreign is None:
        raise BackupRefused("its database is not one of vpnkeys")
    if foreign:
        msg = f"its database was altered: {', '.join(foreign[:_NAMED])} is not as vpnkeys makes it; give another backup"
        raise BackupRefused(msg)


def _check_integrity(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise damaged()


def _opening(raw: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the parsed header, and the two lines before the body as bytes."""
    if not raw.startswith(_MAGIC):
        raise BackupRefused(_ALTERED if raw and _MAGIC.startswith(raw) else _FOREIGN)
    end = raw.find(b"\n", len(_MAGIC), len(_MAGIC) + _HEADER_MAX_BYTES)
    header = _parsed(raw[len(_MAGIC) : end]) if end != -1 else None
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        raise BackupRefused(_ALTERED)
    if header["format"] != _FORMAT:
        raise BackupRefused(f"it has format {header['format']}, and this vpnkeys reads {_FORMAT}; use a newer vpnkeys")
    if not header.keys() >= {"created_by", "created_at", "encryption"}:
        raise BackupRefused(_ALTERED)
    return header, raw[: end + 1]


def _decrypted(encryption: object, opening: bytes, sealed: bytes, passphrase: str | None) -> bytes:
    if not isinstance(encryption, dict) or any(encryption.get(name) != value for name, value in _KDF.items()):
        raise BackupRefused("it is encrypted in a way that this vpnkeys does not know; use a newer vpnkeys")
    if passphrase is None:
        msg = "it is encrypted: give its passphrase, by --passphrase-file or VPNKEYS_PASSPHRASE"
        raise BackupRefused(msg)
    salt, nonce = _bytes(encryption.get("salt"), _SALT_BYTES), _bytes(encryption.get("nonce"), _NONCE_BYTES)
    try:
        return AESGCM(_derive(passphrase, salt)).decrypt(nonce, sealed, opening)
    except InvalidTag as error:
        msg = "the passphrase is wrong, or the file was altered without it"
        raise BackupRefused(msg) from error


def _members(body: bytes) -> dict[str, bytes]:
    end = body.find(b"\n")
    manifest: Any = _parsed(body[:end]) if end != -1 else None
    try:
        listed = [(str(entry["name"]), int(entry["size"]), str(entry["sha256"])) for entry in manifest["members"]]
    except (KeyError, TypeError, ValueError) as error:
        raise BackupRefused(_ALTERED) from error
    members: dict[str, bytes] = {}
    at = end + 1
    for name, size, digest in listed:
        # Names become paths in the data directory: only known ones ("../" must not work), and none twice.
        if name not in MEMBERS or name in members or size < 0:
            raise BackupRefused(f"it holds {name!r}, which has no place in a backup")
        members[name] = body[at : at + size]
        at += size
        if len(members[name]) != size or hashlib.sha256(members[name]).hexdigest() != digest:
            raise BackupRefused(_ALTERED)
    if at != len(body):
        raise BackupRefused(_ALTERED)
    return members


def _derive(passphrase: str, salt: bytes) -> bytes:
    # Keyboards of different systems compose "é" differently; NFC makes the same passphrase the same bytes.
    typed = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogateescape")
    return Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(typed)


def _digest(opening: bytes, body: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(opening)
    digest.update(body)
    return digest.digest()


def _line(document: object) -> bytes:
    return json.dumps(document).encode("ascii") + b"\n"


def _parsed(line: bytes) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _bytes(value: object, size: int) -> bytes:
    if not isinstance(value, str) or len(value) != 2 * size or _HEX.fullmatch(value) is None:
        raise BackupRefused(_ALTERED)
    return bytes.fromhex(value)
