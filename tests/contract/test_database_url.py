"""Which URL of a database is taken, and what is said of one that is not."""

from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import make_url
from tests.support.postgres import Cluster

from vpnkeys.settings import Settings, SettingsError, load_settings
from vpnkeys.store.sql.migrate import HEAD
from vpnkeys.store.sql.opening import bring_up_to_date, sqlite_file
from vpnkeys.store.transfer.copying import MoveRefused
from vpnkeys.store.transfer.moving import target_of


def load(data_dir: Path, url: str) -> Settings:
    """Settings of an environment with this database."""
    return load_settings({"VPNKEYS_DATA_DIR": str(data_dir), "VPNKEYS_DATABASE_URL": url})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db/keys",
        "postgresql://u:p/w%40@[::1]:1/k?sslmode=require",
        "postgresql:///keys?host=/run/pg",
        "sqlite:///keys.db",
    ],
)
def test_a_url_is_taken_as_it_is(tmp_path: Path, url: str) -> None:
    """With one host, in the form that SQLAlchemy has."""
    assert load(tmp_path, url).database_url == url


@pytest.mark.parametrize(
    "url",
    [
        "mysql://db/keys",
        "postgresql+psycopg2://db/keys",
        "/var/lib/vpnkeys.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file:keys?mode=memory&uri=true",
        "sqlite://var/lib/vpnkeys.db",
        "postgresql://u@db:word/keys",
        "postgresql://u@db:65536/keys",
        "postgresql://u@[::1/keys",
        "postgresql://u@::1/keys",
        "postgresql://u@db/keys?connect_timeout=abc",
        "postgresql://u@db/keys?port=abc",
        "postgresql://u@db/keys?no_such_thing=1",
        "postgresql://u@db/keys?autocommit=1",
    ],
)
def test_what_can_be_no_database_is_refused(tmp_path: Path, url: str) -> None:
    """With the setting's name and in one line, before anything is opened; a move refuses it too."""
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, url)
    told = str(refused.value)
    assert told.startswith("VPNKEYS_DATABASE_URL: ")
    assert len(told.splitlines()) == 1
    with pytest.raises(MoveRefused):
        target_of(url, f"sqlite:///{tmp_path}/vpnkeys.db")


@pytest.mark.parametrize("password", ["st@rfish", "st@r:fish", "st@r/fish", "st@r?fish", "@starfish@", "st@r/fi?sh"])
def test_no_part_of_a_password_is_shown(tmp_path: Path, password: str) -> None:
    """An @ in it was taken for the end of it, and what follows for the host."""
    with pytest.raises(SettingsError, match="%40") as refused:
        load(tmp_path, f"postgresql://u:{password}@db/keys")
    assert "fish" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "hosts", "ports"),
    [
        ("h1:5432,h2:5433/keys?sslmode=require", "h1,h2", "5432,5433"),
        ("h1,h2/keys?sslmode=require", "h1,h2", ","),
        ("[::1]:5432,[::2]/keys?sslmode=require", "::1,::2", "5432,"),
        ("%2Frun%2Fpg/keys?sslmode=require", "/run/pg", None),
    ],
)
def test_hosts_are_given_as_libpq_has_them(tmp_path: Path, given: str, hosts: str, ports: str | None) -> None:
    """Several of them, or the directory of a socket: they reach the driver, with all else."""
    url = make_url(load(tmp_path, f"postgresql+psycopg://u:p%40w@{given}").database_url)
    _, found = url.get_dialect()().create_connect_args(url)
    assert (found["host"], found.get("port")) == (hosts, ports)
    assert [found[name] for name in ("user", "password", "dbname", "sslmode")] == ["u", "p@w", "keys", "require"]


def test_the_second_host_serves_while_the_first_is_gone(tmp_path: Path, postgres: Cluster) -> None:
    """The driver tries them in their order."""
    alone = make_url(postgres.empty_database())
    hosts = ",".join(quote(str(each), safe="") for each in (tmp_path, alone.query["host"]))
    url = load(tmp_path, f"postgresql://{alone.username}@{hosts}/{alone.database}").database_url
    assert bring_up_to_date(url) == HEAD


def test_a_data_directory_has_any_name(tmp_path: Path) -> None:
    """What has a meaning in a URL is part of the path of the database."""
    odd = tmp_path / "50%25 & a? #1"
    odd.mkdir(0o700)
    assert sqlite_file(load_settings({"VPNKEYS_DATA_DIR": str(odd)}).database_url) == odd / "vpnkeys.db"
