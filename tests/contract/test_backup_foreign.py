"""A backup brings data: what it has besides, programs, paths, triggers or keys that no server makes, is not taken."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.support.data_dirs import changed, content, filled, keys_in, settings_in

from vpnkeys.ops.backup import Restored, restore_backup, write_backup
from vpnkeys.ops.backup_settings import is_of_this_host, joined
from vpnkeys.settings import PREFIX, Settings, SettingsError
from vpnkeys.store.files.backup import DATABASE, Backup, BackupRefused, unpack

_HERE = b"VPNKEYS_XRAY_BIN=/opt/own/xray\nVPNKEYS_LISTEN=127.0.0.1:9000\n"
_THERE = b"""\
# as it was there
VPNKEYS_XRAY_BIN=/tmp/evil
export VPNKEYS_LOG_FILE='/etc/cron.d/x'
VPNKEYS_DATABASE_URL=sqlite:////nowhere/x.db
VPNKEYS_EGRESS_ALLOW=10.0.0.0/8
VPNKEYS_API_KEY=a-key-of-another-server
"""


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> Backup:
    """A backup with two keys."""
    room = tmp_path_factory.mktemp("backup")
    return unpack(write_backup(filled(room / "old", 1, 2), room / "backup").file.read_bytes())


@pytest.fixture(scope="module")
def filled_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with another key and settings of its own."""
    settings = filled(tmp_path_factory.mktemp("filled") / "data", 7)
    (settings.data_dir / "vpnkeys.env").write_bytes(_HERE)
    return settings.data_dir


@pytest.fixture
def new(filled_dir: Path, tmp_path: Path) -> Settings:
    """A copy of it, to restore to."""
    return settings_in(shutil.copytree(filled_dir, tmp_path / "new"))


def _with(backup: Backup, **members: bytes) -> Backup:
    names = {"database": DATABASE, "env": "vpnkeys.env"}
    changes = {names[name]: value for name, value in members.items()}
    return Backup(backup.created_by, backup.created_at, {**backup.members, **changes})


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("CREATE TRIGGER x AFTER INSERT ON keys BEGIN DELETE FROM tokens; END", "trigger x"),
        ("CREATE VIEW x AS SELECT 1", "view x"),
        ("CREATE INDEX x ON keys (name)", "index x"),
        ("CREATE TABLE x (y)", "table x"),
        ("CREATE VIRTUAL TABLE x USING fts5(y)", "table x"),
        ("ALTER TABLE keys ADD COLUMN x AS (uuid) VIRTUAL", "table keys"),
        ("DROP TRIGGER audit_no_delete", "trigger audit_no_delete"),
        (
            "DROP TRIGGER audit_no_delete; CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT 1; END",
            "trigger audit_no_delete",
        ),
        ("ALTER TABLE tokens RENAME TO x; CREATE VIEW tokens AS SELECT * FROM x", "view tokens"),
    ],
)
def test_a_schema_that_is_not_ours(backup: Backup, new: Settings, statement: str, named: str) -> None:
    """It is refused in one line that names it, and nothing has changed."""
    altered = _with(backup, database=changed(backup.members[DATABASE], statement))
    before = content(new.data_dir)
    with pytest.raises(BackupRefused, match=named) as refused:
        restore_backup(new, altered, settings_in, force=True)
    assert len(str(refused.value).splitlines()) == 1
    assert content(new.data_dir) == before


def test_the_schema_is_read_before_anything_runs(backup: Backup, new: Settings) -> None:
    """A trigger on the very table that a migration writes to does not run: the older version is compared too."""
    older = changed(backup.members[DATABASE], "UPDATE alembic_version SET version_num = '0001'")
    altered = changed(older, "CREATE TRIGGER x AFTER UPDATE ON alembic_version BEGIN DELETE FROM keys; END")
    with pytest.raises(BackupRefused, match="altered: trigger"):
        restore_backup(new, _with(backup, database=altered), settings_in, force=True)


@pytest.mark.parametrize(
    "change",
    [
        "sni = 'localhost'", "sni = '127.0.0.1'", "sni = x'00'", "port = 'all'", "port = -1", "port = 70000",
        "uuid = 'x'", "uuid = 5", "id = '../../x'", "short_id = 'zz'", "name = char(27) || '[2J'", "name = ''",
        "flow = 'x'", "created_at = 'today'", "is_active = 'x'", "fingerprint = '/bin/sh'", "judged = 'x'",
        "max_devices = 'x'", "expires_at = 0.5", "note = x'ff'",
    ],
)  # fmt: skip
def test_keys_that_no_server_makes(backup: Backup, new: Settings, change: str) -> None:
    """What is in a row goes into config.json and into links: what cannot be there is refused in one line."""
    altered = changed(backup.members[DATABASE], f"UPDATE keys SET {change} WHERE port = 10002")  # noqa: S608 - above
    before = content(new.data_dir)
    with pytest.raises(BackupRefused) as refused:
        restore_backup(new, _with(backup, database=altered), settings_in, force=True)
    assert len(str(refused.value).splitlines()) == 1
    assert content(new.data_dir) == before


def _restored(new: Settings, backup: Backup, env: bytes, *, with_settings: bool) -> Restored:
    return restore_backup(new, _with(backup, env=env), settings_in, force=True, with_settings=with_settings)


def test_settings_are_shown_and_not_taken(backup: Backup, new: Settings) -> None:
    """The file here stays as it is; an API key is not shown."""
    restored = _restored(new, backup, _THERE, with_settings=False)
    assert (new.data_dir / "vpnkeys.env").read_bytes() == _HERE
    assert restored.settings.offered == {"VPNKEYS_EGRESS_ALLOW": "10.0.0.0/8", "VPNKEYS_API_KEY": "(secret)"}
    assert restored.settings.refused == ("VPNKEYS_DATABASE_URL", "VPNKEYS_LOG_FILE", "VPNKEYS_XRAY_BIN")
    assert keys_in(new.data_dir) == [1, 2]


def test_settings_that_are_asked_for(backup: Backup, new: Settings) -> None:
    """They replace those here, but paths and programs are those of this host."""
    restored = _restored(new, backup, _THERE, with_settings=True)
    text = (new.data_dir / "vpnkeys.env").read_text()
    assert text.splitlines() == [
        "# as it was there",
        "VPNKEYS_EGRESS_ALLOW=10.0.0.0/8",
        "VPNKEYS_API_KEY=a-key-of-another-server",
        "VPNKEYS_XRAY_BIN=/opt/own/xray",
    ]
    assert restored.settings.offered == {}
    assert settings_in(new.data_dir).egress_allow[0].cidr == "10.0.0.0/8"


def test_wrong_settings_that_are_asked_for(backup: Backup, new: Settings) -> None:
    """They are refused before anything is replaced."""
    before = content(new.data_dir)
    with pytest.raises(SettingsError, match="VPNKEYS_LISTEN"):
        _restored(new, backup, b"VPNKEYS_LISTEN=nowhere\n", with_settings=True)
    assert content(new.data_dir) == before


def test_a_backup_without_settings(backup: Backup, new: Settings) -> None:
    """Those here stay, asked for or not."""
    restore_backup(new, backup, settings_in, force=True, with_settings=True)
    assert (new.data_dir / "vpnkeys.env").read_bytes() == _HERE


@pytest.mark.parametrize(
    "trick",
    [
        "VPNKEYS_LISTEN='\nVPNKEYS_XRAY_BIN=/x\n'\n",
        "VPNKEYS_LISTEN=1\rVPNKEYS_XRAY_BIN=/x\n",
        "VPNKEYS_LISTEN='a' VPNKEYS_XRAY_BIN=/x\n",
        "#\rVPNKEYS_XRAY_BIN=/x\n",
        "'VPNKEYS_XRAY_BIN'=/x\n",
        "export\tVPNKEYS_XRAY_BIN = /x\n",
        "VPNKEYS_LISTEN='a\nVPNKEYS_API_KEY=b\nVPNKEYS_XRAY_BIN=/x'\nVPNKEYS_XRAY_BIN=/x",
        "VPNKEYS_LISTEN=a\u2028VPNKEYS_XRAY_BIN=/x\n",
        "\ufeffVPNKEYS_XRAY_BIN=/x\n",
        "vpnkeys_xray_bin=/x\n",
    ],
)
def test_no_way_to_write_a_program(tmp_path: Path, trick: str) -> None:
    """However a line is written, a server with the joined file starts no program of the backup."""
    (tmp_path / "vpnkeys.env").write_text(joined("", trick), encoding="utf-8", newline="")
    try:
        found = settings_in(tmp_path)
    except SettingsError:
        return  # it starts nothing
    assert found.xray_bin is None


def test_which_settings_a_backup_may_bring() -> None:
    """Not one that names a path, a program or a database; a new one of these is found by its type."""
    stay = {name for name in Settings.model_fields if is_of_this_host(f"{PREFIX}{name.upper()}")}
    assert stay == {
        "acme_ca_file", "data_dir", "database_url", "log_file", "tls_cert", "tls_key", "xray_bin", "xray_ca_file",
        "xray_supervisor",
    }  # fmt: skip
