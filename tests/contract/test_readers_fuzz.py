"""Files from elsewhere, torn and altered at random: each reader says so by its own error, or reads what is there.

A backup, a database or config.json of an old server or another panel, and config.json of our own: whatever is in them,
nothing but the documented errors comes out, and nothing is written.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.data_dirs import filled
from tests.support.legacy import OldServer, realistic_keys
from tests.support.marzban import Marzban, MarzbanUser
from tests.support.three_x_ui import XuiClient, XuiDatabase, XuiInbound
from tests.unit.test_config import inbound_of, json_values

from vpnkeys.domain.errors import ConfigUnwritable, LegacyUnreadable
from vpnkeys.domain.plan import FileState
from vpnkeys.domain.portpool import PortRange
from vpnkeys.ops.backup import write_backup
from vpnkeys.service.legacy.reading import read_installation
from vpnkeys.service.moving.marzban import MARZBAN_TABLES, read_marzban, read_marzban_answer
from vpnkeys.service.moving.three_x_ui import THREE_X_UI_TABLES, read_3x_ui
from vpnkeys.store.files.backup import DATABASE, Backup, BackupRefused, make_fit, pack, unpack
from vpnkeys.store.files.legacy import read_legacy_database, read_tables
from vpnkeys.xray.config.document import BaseConfig
from vpnkeys.xray.config.file import ConfigFile

_BOUNDED = settings(
    max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
T = TypeVar("T")

_NOW = datetime(2026, 3, 1)  # noqa: DTZ001 - UTC without an offset, as everywhere
_NUMBERS = st.sampled_from([1e999, -1e999, float("nan"), 10**400, -1, 0, True])
_ODD = json_values | _NUMBERS | st.text(max_size=3).map(lambda text: f"{text}\x1b[2J\ud800")


@st.composite
def altered(draw: st.DrawFn, document: object) -> Any:  # noqa: ANN401 - any JSON
    """A JSON document in which one to three values are something else, or gone, or there twice."""
    whole = {"": copy.deepcopy(document)}
    for _ in range(draw(st.integers(1, 3))):
        holder: Any = whole
        place: Any = ""
        while isinstance(holder[place], dict | list) and holder[place] and draw(st.integers(0, 5)):
            holder, place = holder[place], _place_in(draw, holder[place])
        if holder is not whole and draw(st.integers(0, 4)) == 0:
            del holder[place]
        elif isinstance(holder, list) and draw(st.integers(0, 3)) == 0:
            holder.append(holder[place])
        else:
            holder[place] = draw(_ODD)
        if "" not in whole:
            break
    return whole.get("")


def _place_in(draw: st.DrawFn, holder: Any) -> Any:  # noqa: ANN401 - any JSON
    return draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))


def torn(content: bytes) -> st.SearchStrategy[bytes]:
    """The bytes of a file with a part overwritten, cut out, or put in."""
    places = st.integers(0, len(content))
    pieces = st.binary(max_size=16)

    def tear(first: int, length: int, piece: bytes) -> bytes:
        return content[:first] + piece + content[first + length :]

    return st.builds(tear, places, st.sampled_from([0, 1, 4, 16, 4096]), pieces)


def _read(read: Callable[[], T], refusal: type[Exception]) -> T | None:
    """What a reader returns; None where it refuses, which it has to do in one line and by its own error."""
    try:
        return read()
    except refusal as error:
        if len(str(error).splitlines()) == 1:
            return None
        raise


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> Backup:
    """A backup as a server makes it."""
    room = tmp_path_factory.mktemp("backup")
    old = filled(room / "old", 1, 2)
    (old.data_dir / "vpnkeys.env").write_text("VPNKEYS_LISTEN=127.0.0.1:9000\n")
    return unpack(write_backup(old, room / "backup").file.read_bytes())


def _sealed(opening: bytes, body: bytes) -> bytes:
    """A file with the digest of its content, which anybody can compute."""
    return opening + body + hashlib.sha256(opening + body).digest()


@_BOUNDED
@given(data=st.data())
def test_the_frame_of_a_backup(backup: Backup, data: st.DataObject) -> None:
    """Header and manifest are JSON in which anything may stand, with a right digest around it."""
    magic, header, manifest, rest = pack(backup)[:-32].split(b"\n", 3)
    raw = _sealed(
        magic + b"\n" + json.dumps(data.draw(altered(json.loads(header)))).encode() + b"\n",
        json.dumps(data.draw(altered(json.loads(manifest)) | st.just(json.loads(manifest)))).encode() + b"\n" + rest,
    )
    found = _read(lambda: unpack(raw), BackupRefused)
    assert found is None or found.members.keys() <= backup.members.keys()


@_BOUNDED
@given(data=st.data())
def test_the_database_of_a_backup(backup: Backup, tmp_path: Path, data: st.DataObject) -> None:
    """Pages in which bytes are others: it is refused, or sound as it is."""
    (database := tmp_path / DATABASE).write_bytes(data.draw(torn(backup.members[DATABASE])))
    rows = _read(lambda: make_fit(database, database.with_name("none")), BackupRefused)
    assert rows is None or len(rows.ports) <= 2
    for left in tmp_path.iterdir():
        left.unlink()


@pytest.fixture(scope="module")
def old_server(tmp_path_factory: pytest.TempPathFactory) -> OldServer:
    """An installation of 2.3 with keys of every kind."""
    names = ("www.example.com", "one.example.com", "two.example.com")
    return OldServer(tmp_path_factory.mktemp("old"), realistic_keys(range(10001, 10020), names)).write()


@_BOUNDED
@given(data=st.data())
def test_the_database_of_an_old_server(old_server: OldServer, tmp_path: Path, data: st.DataObject) -> None:
    """Whatever its pages hold, rows come out, or one error that names the file."""
    (database := tmp_path / "vpn.db").write_bytes(data.draw(torn(old_server.database.read_bytes())))
    config, env = old_server.config.read_text(), old_server.env.read_text()
    _read(lambda: read_installation(read_legacy_database(database), config, env), LegacyUnreadable)
    assert [path.name for path in tmp_path.iterdir()] == ["vpn.db"]


@_BOUNDED
@given(data=st.data())
def test_the_rows_and_config_of_an_old_server(old_server: OldServer, data: st.DataObject) -> None:
    """Values of any type in any column, anything in config.json, lines of keys.env that are none."""
    tables = data.draw(altered(old_server.tables()) | st.just(old_server.tables()))
    if not _is_tables(tables):
        tables = old_server.tables()  # the reader of the file gives lists of rows, whatever is in them
    config = data.draw(altered(old_server.document()).map(json.dumps) | st.text(max_size=50))
    env = data.draw(torn(old_server.env.read_bytes())).decode(errors="replace")
    _read(lambda: read_installation(tables, config, env), LegacyUnreadable)


def _is_tables(found: object) -> bool:
    names = {"keys", "port_assignments", "traffic_history"}
    return (
        isinstance(found, dict)
        and found.keys() == names
        and all(isinstance(rows, list) and all(isinstance(row, dict) for row in rows) for rows in found.values())
    )


def _fit_tables(found: object, like: dict[str, list[dict[str, object]]]) -> dict[str, list[dict[str, object]]]:
    """Altered tables as the reader of the file could give them: rows with their columns, plain values in these."""
    if not isinstance(found, dict):
        return like
    fit = {}
    for name, rows in like.items():
        plain = (int, float, str, bytes, type(None))
        kept = [
            row | {column: value for column, value in other.items() if isinstance(value, plain)}
            for row, other in zip(rows, _list(found.get(name)), strict=False)
            if isinstance(other, dict)
        ]
        fit[name] = kept
    return fit


def _list(found: object) -> list[object]:
    return found if isinstance(found, list) else []


@pytest.fixture(scope="module")
def xui(tmp_path_factory: pytest.TempPathFactory) -> XuiDatabase:
    """A database of 3x-ui with customers in its tables and in JSON."""
    clients = [XuiClient("anna", 1, 2, more={"totalGB": 5}), XuiClient("boris", more={"expiryTime": -1000})]
    return XuiDatabase(tmp_path_factory.mktemp("xui") / "x-ui.db", [XuiInbound(clients)], "3.6").write()


@pytest.fixture(scope="module")
def marzban(tmp_path_factory: pytest.TempPathFactory) -> Marzban:
    """An installation of Marzban."""
    users = [MarzbanUser("anna", 1, more={"data_limit": 5, "note": "paid"}), MarzbanUser("boris", proxies=("Trojan",))]
    return Marzban(tmp_path_factory.mktemp("marzban") / "m", users).write()


@_BOUNDED
@given(data=st.data())
def test_the_database_of_another_panel(xui: XuiDatabase, tmp_path: Path, data: st.DataObject) -> None:
    """Whatever its pages hold, rows come out, or one error that names the file."""
    (database := tmp_path / "x-ui.db").write_bytes(data.draw(torn(xui.path.read_bytes())))
    _read(lambda: read_3x_ui(read_tables(database, THREE_X_UI_TABLES, "the database of 3x-ui"), _NOW), LegacyUnreadable)
    assert [path.name for path in tmp_path.iterdir()] == ["x-ui.db"]


@_BOUNDED
@given(data=st.data())
def test_the_rows_of_3x_ui(xui: XuiDatabase, data: st.DataObject) -> None:
    """Any value in any column, anything in the JSON of an inbound."""
    tables = read_tables(xui.path, THREE_X_UI_TABLES, "the database of 3x-ui")
    tables = _fit_tables(data.draw(altered(tables) | st.just(tables)), tables)
    for row in tables["inbounds"]:
        for column in ("settings", "stream_settings"):
            if isinstance(row[column], str) and data.draw(st.booleans()):
                with suppress(ValueError):
                    row[column] = json.dumps(data.draw(altered(json.loads(str(row[column])))))
    panel = read_3x_ui(tables, _NOW)
    assert all(one.used_bytes >= 0 for one in panel.customers)


@_BOUNDED
@given(data=st.data())
def test_the_files_of_marzban(marzban: Marzban, data: st.DataObject) -> None:
    """Any value in any column or field, anything in xray_config.json."""
    tables = read_tables(marzban.database, MARZBAN_TABLES, "the database of Marzban")
    tables = _fit_tables(data.draw(altered(tables) | st.just(tables)), tables)
    config = data.draw(altered(marzban.document()).map(json.dumps) | st.text(max_size=50))
    _read(lambda: read_marzban(tables, config), LegacyUnreadable)
    answer = data.draw(altered(marzban.answer()).map(json.dumps) | st.text(max_size=50))
    _read(lambda: read_marzban_answer(answer, config), LegacyUnreadable)


def _config(tmp_path: Path) -> ConfigFile:
    """Our config.json, which Xray takes in whatever form."""
    accepts: Callable[[Path], None] = lambda _: None  # noqa: E731 - a checker that takes everything
    return ConfigFile(tmp_path / "config.json", BaseConfig("/run/api.sock", PortRange(10001, 10100)), accepts)


@_BOUNDED
@given(data=st.data())
def test_our_own_config(tmp_path: Path, data: st.DataObject) -> None:
    """Altered by hand, it is read, written anew and read again; the operator's parts that are left stay."""
    file = _config(tmp_path)
    file.write((inbound_of(10001), inbound_of(10002)))
    document = data.draw(altered(orjson.loads(file.path.read_bytes())))
    content = data.draw(torn(json.dumps(document).encode()) | st.just(json.dumps(document).encode()))
    file.path.write_bytes(content)
    file = _config(tmp_path)
    assert file.read().state in {FileState.OK, FileState.INVALID}
    file.base_now()
    file.reserved()

    def write() -> bool:
        file.write((inbound_of(10001),))
        return True

    if _read(write, ConfigUnwritable):
        assert file.read().state is FileState.OK
    for left in tmp_path.iterdir():
        left.unlink()
