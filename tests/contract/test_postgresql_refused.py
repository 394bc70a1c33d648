"""A PostgreSQL database with which no server can work is refused in one sentence, by all that open it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from tests.contract.test_dump import Place
from tests.contract.test_move import ONE, TWO, contents, fill
from tests.support.databases import Database
from tests.support.postgres import Cluster

from vpnkeys.doctor.checks import database
from vpnkeys.doctor.finding import Finding, Level
from vpnkeys.doctor.installation import find_installation
from vpnkeys.doctor.table import Check
from vpnkeys.domain.errors import DatabaseDamaged, StoreUnavailable
from vpnkeys.store.sql.engine import open_engine
from vpnkeys.store.sql.opening import open_current, open_migrated
from vpnkeys.store.sql.soundness import check_database

KINDS = ("LATIN1", "SQL_ASCII", "CREATE TABLE keys (id int)", "another's version")


@pytest.fixture(params=KINDS)
def useless(request: pytest.FixtureRequest, postgres: Cluster) -> tuple[str, str]:
    """The URL of such a database, and what is said of it."""
    kind: str = request.param
    if kind.isupper():
        return postgres.database_in(kind), f"its encoding is {kind} and not UTF8"
    url = postgres.empty_database()
    name = str(make_url(url).database)
    postgres.execute("CREATE TABLE keys (id int)", name)
    if kind.startswith("CREATE"):
        return url, "it has tables of another program"
    postgres.execute("CREATE TABLE alembic_version AS SELECT 'ae1027a6acf' AS version_num", name)
    return url, "it is of another version of vpnkeys, or of another program"


def whole(said: str, why: str) -> None:
    """One sentence that says why, and nothing of a server that could answer later."""
    assert f"The database cannot be used: {why}" in said, said
    assert "\n" not in said
    assert "try again" not in said
    assert "start the server once" not in said


def test_a_start_is_refused(useless: tuple[str, str]) -> None:
    """Both by what a start looks for first, and by what makes the tables."""
    url, why = useless
    for work in (check_database, open_migrated):
        with pytest.raises(StoreUnavailable) as raised:
            work(url)
        whole(str(raised.value), why)


def test_commands_say_the_same(useless: tuple[str, str], postgres: Cluster, tmp_path: Path) -> None:
    """Nothing is left by them."""
    (url, why), file = useless, tmp_path / "a.dump"
    Place(tmp_path / "other", postgres.database()).run("database", "dump", file)
    here, there = Place(tmp_path / "here", ""), Place(tmp_path / "there", url)
    (here.data_dir / "vpnkeys.env").unlink()
    fill(f"sqlite:///{here.data_dir / 'vpnkeys.db'}")
    before = contents(f"sqlite:///{here.data_dir / 'vpnkeys.db'}")
    said_by = [there.run("database", *verb) for verb in (("migrate",), ("dump", tmp_path / "b.dump"))]
    if "tables" not in why and "program" not in why:  # those would be replaced, or are beside the trial
        said_by += [there.run("database", "load", file, option) for option in ("--trial", "--replace")]
    for said in (here.run("database", "move", url), *said_by):
        assert (said["exit"], said["code"]) == (1, "store_unavailable"), said
        whole(said["message"], why)
    assert contents(f"sqlite:///{here.data_dir / 'vpnkeys.db'}") == before
    assert not (here.data_dir / "vpnkeys.env").exists()


def found_by_doctor(url: str, data_dir: Path) -> Finding:
    """What the check of the database finds."""
    environment = {"VPNKEYS_DATA_DIR": str(data_dir), "VPNKEYS_DATABASE_URL": url}
    with find_installation(environment) as installation:
        (finding,) = Check("database", database.look, database.judge).findings(installation)
    return finding


def test_the_doctor_says_what_a_start_would(useless: tuple[str, str], tmp_path: Path) -> None:
    """Instead of a database that is fine."""
    url, why = useless
    finding = found_by_doctor(url, tmp_path)
    assert finding.level is Level.FAIL, finding
    whole(finding.message, why)


def test_the_doctor_opens_what_a_start_would(postgres: Cluster, tmp_path: Path) -> None:
    """A database that is empty, one of this version, and one that does not answer."""
    empty = postgres.empty_database()
    assert found_by_doctor(empty, tmp_path).level is Level.WARN
    open_migrated(empty).dispose()
    assert found_by_doctor(empty, tmp_path).level is Level.OK
    silent = found_by_doctor("postgresql://vpnkeys@127.0.0.1:1/vpnkeys", tmp_path)
    assert (silent.level, "Connection refused" in silent.message) == (Level.FAIL, True), silent
    standby = empty.replace("?", "?options=-cdefault_transaction_read_only%3Don&")
    assert "as a standby is" in found_by_doctor(standby, tmp_path).message


def test_an_encoding_that_was_set_does_not_count(postgres: Cluster) -> None:
    """Neither the database's own nor that of the URL: names in every script are stored, and read as they were."""
    url = postgres.empty_database()
    name = make_url(url).database
    postgres.execute(f"ALTER DATABASE {name} SET client_encoding = 'LATIN1'")
    fill(url)
    with closing(open_current(f"{url}&client_encoding=LATIN1")) as store:
        assert [one.name for one in store.keys()] == [ONE.name, TWO.name]  # noqa: SIM118 - not a dict


def test_what_cannot_be_asked_is_no_damage(sql_database: Database) -> None:
    """Half a character, which is of no text: a restored backup would not help."""
    with closing(sql_database.open()) as store, pytest.raises(UnicodeEncodeError) as raised:
        store.audit(1, subject="\ud800")
    assert not isinstance(raised.value, DatabaseDamaged)


def test_an_error_that_nobody_expected_is_one_line(tmp_path: Path, postgres: Cluster) -> None:
    """A row of the old database has a date that is none."""
    here = Place(tmp_path / "here", "")
    (here.data_dir / "vpnkeys.env").unlink()
    url = f"sqlite:///{here.data_dir / 'vpnkeys.db'}"
    fill(url)
    engine = open_engine(url)
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(text("UPDATE tokens SET created_at = 'yesterday'"))
    engine.dispose()
    said = here.run("database", "move", postgres.empty_database())
    assert (said["exit"], said["code"]) == (1, "unexpected"), said
    assert "yesterday" in said["message"]
    assert "\n" not in said["message"]
    open_current(url).close()
