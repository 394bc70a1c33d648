"""A server on PostgreSQL is saved and restored by the very commands of the documentation."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url
from tests.support.clients import XrayClient
from tests.support.keys import carries, link_of, list_keys, make_key
from tests.support.manual import EN, sections_of
from tests.support.postgres import Cluster
from tests.support.service import Service
from tests.support.streams import ByteServer
from tests.support.target import RealityTarget

pytestmark = pytest.mark.e2e

(SECTION,) = [section for section in sections_of(EN / "postgresql.md") if section.startswith("Backup and restore")]
SAVE, RESTORE = (block.partition("```")[0] for block in SECTION.split("```sh\n")[1:])


@pytest.fixture
def service(target: RealityTarget, egress: tuple[str, ...], postgres: Cluster) -> Iterator[Service]:
    """A service whose settings file names a database of PostgreSQL."""
    service = Service(target, egress_allow=egress, settings={"VPNKEYS_DATABASE_URL": None})
    (service.data_dir / "vpnkeys.env").write_text(f"VPNKEYS_DATABASE_URL='{postgres.empty_database()}'\n")
    with service:
        service.wait_ready()
        yield service


def do(service: Service, commands: str, place: Path) -> None:
    """Do what the documentation says, in the data directory of this service."""
    ours = f'set -eu; vpnkeys() {{ "{sys.executable}" -m vpnkeys "$@"; }}\n'
    script = ["bash", "-c", ours + commands.replace("/var/lib/vpnkeys", str(service.data_dir))]
    done = subprocess.run(script, cwd=place, env=service.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def lose_everything(service: Service, postgres: Cluster) -> None:
    """Leave an empty data directory and an empty database."""
    (line,) = (service.data_dir / "vpnkeys.env").read_text().splitlines()
    name = make_url(line.partition("=")[2].strip("'")).database
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")
    postgres.execute(f"CREATE DATABASE {name}")
    for path in service.data_dir.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def test_a_lost_server_is_restored(
    service: Service, postgres: Cluster, byte_server: ByteServer, tmp_path: Path
) -> None:
    """The keys of the backup are there, and their old links work; what came later is not."""
    keys = [make_key(service, f"key {number}") for number in range(2)]
    links = [link_of(service, key) for key in keys]
    do(service, SAVE, tmp_path)
    make_key(service, "after the backup")
    service.stop()
    lose_everything(service, postgres)
    do(service, RESTORE, tmp_path)
    service.start()
    service.wait_ready()
    assert [one["id"] for one in list_keys(service)] == [one["id"] for one in keys]
    for link in links:
        with XrayClient(link) as client:
            assert carries(client.socks, byte_server)
