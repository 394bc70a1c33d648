"""What commands print and write, beyond that they work: many keys at once, tokens for scripts, fetched backups."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import segno
from tests.support.in_process import call
from tests.support.keys import Key, delete_key, link_of, list_keys, make_key
from tests.support.link import VlessLink
from tests.support.service import Service

from vpnkeys.store.files.backup import unpack

pytestmark = pytest.mark.e2e


@pytest.fixture
def key(service: Service) -> Iterator[Key]:
    """A key."""
    key = make_key(service, "one")
    yield key
    delete_key(service, key)


class TestManyKeys:
    """All of them or none."""

    def test_from_their_making_to_their_end(self, service: Service) -> None:
        """Named and numbered, each with its link; then later to expire; then gone."""
        added = service.cli(
            "keys", "add", "--count", "3", "--prefix", "Класс ", "--expires", "2031-01-01T00:00:00", "--json"
        )
        assert added.returncode == 0, added.stderr
        made = [config["key"] for config in json.loads(added.stdout)]
        assert [key["name"] for key in made] == ["Класс 1", "Класс 2", "Класс 3"]
        for config in json.loads(added.stdout):
            assert VlessLink.parse(config["vless_url"]) == link_of(service, config["key"])
        ids = [key["id"] for key in made]
        extended = service.cli("keys", "extend", *ids, "--days", "31", "--json")
        assert [key["expires_at"] for key in json.loads(extended.stdout)] == ["2031-02-01T00:00:00.000000"] * 3
        assert service.cli("keys", "rm", *ids, "nobody").returncode == 1
        assert {*ids} <= {key["id"] for key in list_keys(service)}
        removed = service.cli("keys", "rm", *ids, "--json")
        assert json.loads(removed.stdout) == {"message": "Keys deleted successfully", "deleted": 3}
        assert not {*ids} & {key["id"] for key in list_keys(service)}

    def test_a_time_that_waits_for_the_first_connection_is_no_endless_one(self, service: Service) -> None:
        """It becomes longer, and the table says so."""
        key = service.client.post("/api/keys", json={"name": "waits", "expires_after_s": 129_600}).json()
        extended = service.cli("keys", "extend", key["id"], "--days", "31")
        assert "32 days 12 hours from the first connection" in " ".join(extended.stdout.split())
        delete_key(service, key)

    def test_people_get_a_table_and_links(self, service: Service) -> None:
        """Each link alone on its line."""
        added = service.cli("keys", "add", "--count", "2", "--prefix", "p-")
        keys = [key for key in list_keys(service) if key["name"] in {"p-1", "p-2"}]
        lines = added.stdout.splitlines()
        links = [line for line in lines if line.startswith("vless://")]
        assert [VlessLink.parse(link) for link in links] == [link_of(service, key) for key in keys]
        assert all(any(key["id"][:8] in line and key["name"] in line for line in lines) for key in keys)
        assert service.cli("keys", "rm", *(key["id"] for key in keys)).returncode == 0

    def test_too_many_are_none(self, service: Service) -> None:
        """More than there are ports: refused, and not one is made."""
        before = list_keys(service)
        assert service.cli("keys", "add", "--count", "1000", "--prefix", "x").returncode == 1
        assert list_keys(service) == before


class TestReadersZone:
    """What a person in another zone reads."""

    def test_subscriptions_name_their_keys_and_the_zone(
        self, service: Service, key: Key, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not an id alone, and no zone in the title that is not that of the time."""
        other = make_key(service, "Борис")
        service.client.post("/api/subscriptions", json={"keys": [key["id"], other["id"]]}).raise_for_status()
        monkeypatch.setitem(service.env, "TZ", "Asia/Tokyo")
        head, _, row = service.program("subscriptions", "list").stdout.splitlines()
        assert f"{key['name']}, Борис" in row
        assert row.rstrip().endswith("JST")
        assert "UTC" not in head
        service.client.delete(f"/api/keys/{other['id']}").raise_for_status()

    def test_an_address_that_apps_refuse_is_shown_as_such(self, service: Service, key: Key) -> None:
        """With what to do instead, beside the address, which a script reads alone."""
        for command in (["keys", "sub", key["id"], "--yes"], ["subscriptions", "add", key["id"]]):
            done = service.cli(*command)
            assert "self-signed" in done.stderr
            assert "--domain NAME" in done.stderr
            assert "self-signed" not in done.stdout
        made = service.client.post(f"/api/keys/{key['id']}/subscription").raise_for_status().json()
        assert made["self_signed"] is True

    def test_all_tables_have_short_ids_of_keys(self, service: Service, key: Key) -> None:
        """Those of the traffic as those of the list."""
        listed = service.cli("traffic", "list").stdout
        assert key["id"][:8] in listed
        assert key["id"] not in listed


class TestLinks:
    """What a script or a phone takes."""

    def test_a_link_alone(self, service: Service, key: Key) -> None:
        """Nothing else is on standard output."""
        told = service.cli("keys", "link", key["uuid"])
        link = service.client.get(f"/api/keys/{key['id']}/config").json()["vless_url"]
        assert (told.stdout, told.stderr) == (f"{link}\n", "")
        assert json.loads(service.cli("keys", "link", key["id"], "--json").stdout) == link

    def test_a_picture_in_a_file(self, service: Service, key: Key, tmp_path: Path) -> None:
        """As the server draws it, for its owner alone."""
        file = tmp_path / "key.svg"
        assert service.cli("keys", "qr", key["id"], "--svg", str(file)).returncode == 0
        drawn = service.client.get(f"/api/keys/{key['id']}/qr.svg").text
        assert file.read_text(encoding="utf-8") == drawn
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert json.loads(service.cli("keys", "qr", key["id"], "--json").stdout)["svg"] == drawn
        told = service.cli("keys", "qr", key["id"], "--svg", str(tmp_path / "no" / "such" / "directory.svg"))
        assert (told.returncode, "Traceback" in told.stderr) == (1, False)

    def test_a_picture_for_the_screen(self, service: Service, key: Key) -> None:
        """Module by module that of the link."""
        told = service.cli("keys", "qr", key["id"]).stdout.splitlines()
        picture = [line for line in told if re.fullmatch("[ ▀▄█]+", line)]
        rows = [[half in light for half in line] for line in picture for light in ("█▀", "█▄")]
        code = segno.make_qr(told[-1], error="l")
        wanted = [[not dark for dark in row] for row in code.matrix_iter(border=4)]
        assert [row[: len(wanted)] for row in rows[: len(wanted)]] == wanted


class TestTokens:
    """`vpnkeys tokens`."""

    def test_a_script_takes_the_text(self, service: Service) -> None:
        """`--quiet` prints it alone, and it opens what its scope says, for as long as it is valid."""
        token = service.cli("tokens", "add", "script", "--scope", "read", "--quiet").stdout.removesuffix("\n")
        assert re.fullmatch(r"vpnk_[0-9a-f]{8}_[\w-]+", token)
        me = json.loads(_elsewhere(service, token, "tokens", "me", "--json").stdout)
        assert (me["name"].partition(" ")[0], me["scope"]) == ("script", "read")
        refused = _elsewhere(service, token, "keys", "add", "x")
        assert refused.returncode == 1
        assert "scope" in refused.stderr
        new = service.cli("tokens", "rotate", token.split("_")[1], "-q").stdout.removesuffix("\n")
        assert _elsewhere(service, token, "tokens", "me").returncode == 1
        assert _elsewhere(service, new, "tokens", "me").returncode == 0
        assert service.cli("tokens", "revoke", new.split("_")[1]).returncode == 0
        assert _elsewhere(service, new, "tokens", "me").returncode == 1

    def test_the_text_is_not_listed(self, service: Service) -> None:
        """Neither in the table nor in the JSON."""
        made = json.loads(service.cli("tokens", "add", "listed", "--scope", "admin", "--json").stdout)
        for form in ([], ["--json"]):
            told = service.cli("tokens", "list", *form).stdout
            assert made["id"] in told
            assert made["token"] not in told


def _elsewhere(service: Service, token: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command with this token, as from another machine."""
    certificate = str(service.data_dir / "tls" / "cert.pem")
    settings = {"VPNKEYS_URL": service.base_url, "VPNKEYS_API_KEY": token, "VPNKEYS_CA": certificate}
    return call(arguments, {**service.env, **settings}, Path("/"))


class TestBackups:
    """`vpnkeys backups`."""

    def test_fetching_one(self, service: Service, key: Key, tmp_path: Path) -> None:
        """Whole, for its owner alone, and never over a file that is there, unless that is wanted."""
        name = json.loads(service.cli("backups", "make", "--json").stdout)["name"]
        assert name in service.cli("backups", "list").stdout
        file = tmp_path / "got"
        assert service.cli("backups", "get", name, "-o", str(file)).returncode == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert unpack(file.read_bytes(), None).members
        file.write_text("mine")
        told = service.cli("backups", "get", name, "-o", str(file))
        assert (told.returncode, file.read_text()) == (1, "mine")
        assert service.cli("backups", "get", name, "-o", str(file), "--force").returncode == 0
        assert unpack(file.read_bytes(), None).members
        assert list(tmp_path.iterdir()) == [file]

    def test_what_cannot_be_written(self, service: Service, tmp_path: Path) -> None:
        """1, and a word about it."""
        told = service.cli("backups", "get", "x", "-o", str(tmp_path / "no" / "file"))
        assert told.returncode == 1
        assert "cannot be written" in told.stderr


def test_a_plan_tells_what_is_wrong(service: Service, key: Key) -> None:
    """A key that is missing in config.json is named by the plan and put back by sync."""
    config = service.data_dir / "config.json"
    document = json.loads(config.read_text())
    document["inbounds"] = [one for one in document["inbounds"] if key["id"] not in one.get("tag", "")]
    config.write_text(json.dumps(document))
    told = service.cli("system", "plan").stdout
    assert "config.json  is rewritten" in told
    assert key["uuid"] in service.cli("system", "validate").stdout
    synced = service.cli("sync")
    assert synced.returncode == 0
    assert "is rewritten" in synced.stderr
    assert "agree" in service.cli("system", "plan").stdout


def test_a_reader_that_goes_away_is_no_error(service: Service) -> None:
    """`vpnkeys audit --follow | head -1`: no traceback."""
    key = make_key(service, "read by somebody")
    delete_key(service, key)
    command = [sys.executable, "-m", "vpnkeys", "audit", "--follow", "--limit", "2"]
    with subprocess.Popen(
        command, env=service.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/"
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert "key.deleted" in process.stdout.readline() + process.stdout.readline()
            process.stdout.close()
            delete_key(service, make_key(service, "one more"))
            assert process.wait(30) == 1
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()
