"""`vpnkeys backup` and `vpnkeys restore`: saving a data directory in one file, and restoring it."""

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from vpnkeys.cli.output.plain import plain, plain_json, plain_lines
from vpnkeys.domain.errors import VpnKeysError
from vpnkeys.ops.backup import BACKUPS, Restored, Written, newest_backup, restore_backup, write_backup
from vpnkeys.owner import as_owner
from vpnkeys.settings import PASSPHRASE, Settings, SettingsError, backup_passphrase, load_settings, set_data_dir
from vpnkeys.store.files.backup import Backup, BackupRefused, is_encrypted, unpack

_REFUSED, _SETTINGS = 1, 2

_File = Annotated[Path, typer.Argument(help="the backup file", show_default=False)]
_PassphraseFile = Annotated[
    Path | None, typer.Option(help=f"a file with the passphrase; without it {PASSPHRASE}, else a terminal is asked")
]
_Json = Annotated[bool, typer.Option("--json", help="print JSON")]


def backup(
    file: _File,
    passphrase_file: _PassphraseFile = None,
    force: Annotated[bool, typer.Option("--force", help="replace an existing file")] = False,
    as_json: _Json = False,
) -> None:
    """Write keys, traffic, key pair, API key hash, certificate and settings into one file; the server may run.

    Without a passphrase the file is not encrypted, and everyone who can read it can use every key. Exit codes: 0 done;
    1 refused, and nothing was written; 2 wrong command line or settings, or nothing to back up.
    """
    os.umask(0o077)  # SQLite creates its files with this mask
    with _errors_reported("back up", as_json=as_json):
        passphrase = _given(passphrase_file) or _new_from_terminal()
        with as_owner(set_data_dir()):
            settings = load_settings()
        written = write_backup(settings, file, passphrase, force=force)
    _report_backup(written, _backup_notes(settings, written), as_json=as_json)


def restore(  # noqa: PLR0913, PLR0917 - one for each option
    file: Annotated[Path | None, typer.Argument(help="the backup file", show_default=False)] = None,
    newest: Annotated[bool, typer.Option("--newest", help="the newest file in the data directory's backups/")] = False,
    passphrase_file: _PassphraseFile = None,
    force: Annotated[bool, typer.Option("--force", help="replace existing data; they are kept in backups/")] = False,
    with_settings: Annotated[
        bool, typer.Option("--with-settings", help="also take its settings, without paths and programs")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Restore the data directory from a backup, completely or not at all; stop the server first.

    The settings of this host stay; those of the backup are shown, and taken with --with-settings.

    Exit codes: 0 done; 1 refused, and nothing was changed; 2 wrong command line or settings, or the server runs.
    """
    os.umask(0o077)
    with _errors_reported("restore", as_json=as_json):
        if newest == (file is not None):
            raise SettingsError("give either a backup file or --newest")
        passphrase = _given(passphrase_file)
        # Before root becomes the server's user, who may have no access to the file that root names.
        found = None if file is None else _opened(file, passphrase)
        with as_owner(set_data_dir()):
            settings = load_settings()
            found = found or _opened(_newest(settings), passphrase)
            restored = restore_backup(settings, found, _settings_in, force=force, with_settings=with_settings)
    _report_restore(settings, restored, _restore_notes(restored), as_json=as_json)


def _newest(settings: Settings) -> Path:
    found = newest_backup(settings.data_dir)
    if found is None:
        raise BackupRefused(f"there is no backup in {settings.data_dir / BACKUPS}; give the path of one from elsewhere")
    return found


@contextmanager
def _errors_reported(what: str, *, as_json: bool) -> Iterator[None]:
    """Print failures in the block as one line or one JSON document, and end with their exit codes."""
    try:
        yield
    except SettingsError as error:
        _fail(what, "settings", str(error), _SETTINGS, as_json=as_json)
    except VpnKeysError as error:
        _fail(what, error.code, str(error), _REFUSED, as_json=as_json)
    except OSError as error:
        _fail(what, "unwritable", f"{error}; nothing was changed", _REFUSED, as_json=as_json)


def _fail(what: str, code: str, message: str, status: int, *, as_json: bool) -> NoReturn:
    if as_json:
        _write_json({"status": "failed", "code": code, "message": message})
    else:
        typer.echo(f"vpnkeys cannot {what}: {plain_lines(message)}", err=True)
    raise typer.Exit(status)


def _settings_in(data_dir: Path) -> Settings:
    return load_settings(data_dir=data_dir)


def _given(file: Path | None) -> str | None:
    """Return the passphrase from the file, else from the environment: other users can see a program's arguments."""
    if file is None:
        return backup_passphrase()
    try:
        # Editors and echo end the line, and its end is no part of the passphrase.
        with as_owner(file):
            found = file.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise BackupRefused(f"{file} is not a UTF-8 text; give a file with the passphrase") from error
    if not found:
        raise BackupRefused(f"{file} has no passphrase; write one into it")
    return found


def _new_from_terminal() -> str | None:
    if not _has_terminal():
        return None
    typed = getpass.getpass("Passphrase (empty: the file is not encrypted): ")
    if typed and getpass.getpass("Once more: ") != typed:
        raise BackupRefused("the two passphrases differ")
    return typed or None


def _has_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _opened(file: Path, passphrase: str | None) -> Backup:
    with as_owner(file):
        raw = file.read_bytes()
    try:
        if passphrase is None and is_encrypted(raw) and _has_terminal():
            passphrase = getpass.getpass("Passphrase: ") or None
        return unpack(raw, passphrase)
    except BackupRefused as error:
        raise BackupRefused(f"{file}: {error}; nothing was changed") from error


def _backup_notes(settings: Settings, written: Written) -> Iterator[str]:
    if not written.is_encrypted:
        yield "It is not encrypted: everyone who can read it can use every key. Keep it as safe as a password."
    if settings.tls_cert is not None:
        yield f"Your own certificate ({settings.tls_cert}) is not in it."


def _restore_notes(restored: Restored) -> Iterator[str]:
    """Yield what the operator has to check, because it is not in the backup."""
    yield (
        "Existing links work only if their host's name or address leads to this machine; new links use "
        "VPNKEYS_SERVER_ADDRESS."
    )
    ports = restored.rows.ports
    if ports:
        yield (
            f"The keys have ports from {ports[0]} to {ports[-1]}: VPNKEYS_PORT_RANGE must include "
            "them, and the firewall must let them in."
        )
    if restored.rows.tokens or restored.rows.webhooks:
        yield (
            f"It brought {restored.rows.tokens} access tokens and {restored.rows.webhooks} webhooks: look at them with "
            "vpnkeys tokens list and vpnkeys webhooks list."
        )
    offer = restored.settings
    if offer.offered:
        shown = ", ".join(f"{name}={value}" for name, value in offer.offered.items())
        yield f"Its settings were not taken: {shown}. To take them: restore again with --force --with-settings."
    if offer.refused:
        yield f"{', '.join(offer.refused)} are in its settings too, and never taken from a backup; set them here."
    yield "Settings in the old server's environment are not in the backup; set them here too."


def _report_backup(written: Written, notes: Iterator[str], *, as_json: bool) -> None:
    if as_json:
        _write_json(
            {
                "status": "written",
                "file": str(written.file),
                "bytes": written.size,
                "members": list(written.members),
                "encrypted": written.is_encrypted,
                "notes": list(notes),
            }
        )
        return
    print(f"{written.file}: {written.size} bytes, {', '.join(written.members)}")
    for note in notes:
        print(f"note: {note}")


def _report_restore(settings: Settings, restored: Restored, notes: Iterator[str], *, as_json: bool) -> None:
    made = restored.backup
    if as_json:
        _write_json(
            {
                "status": "restored",
                "data_dir": str(settings.data_dir),
                "created_at": made.created_at,
                "created_by": made.created_by,
                "keys": len(restored.rows.ports),
                "kept_aside": None if restored.kept_aside is None else str(restored.kept_aside),
                "notes": list(notes),
            }
        )
        return
    print(
        plain(
            f"{settings.data_dir} is restored as of {made.created_at}, with {len(restored.rows.ports)} keys "
            f"(backup by vpnkeys {made.created_by}). Start the server."
        )
    )
    if restored.kept_aside is not None:
        print(f"the data before the restore: {restored.kept_aside}")
    for note in notes:
        print(f"note: {plain(note)}")


def _write_json(document: object) -> None:
    print(plain_json(document))
