"""What settings name has to be on this host: a start is refused otherwise, before it makes anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.certificates import Authority
from tests.unit.test_starting import NODE, said

from vpnkeys.doctor.checks import named
from vpnkeys.doctor.finding import Level
from vpnkeys.ops.named import named_faults
from vpnkeys.settings import Settings, load_settings
from vpnkeys.xray.probe.targets import look_at

ELSEWHERE = "203.0.113.7"  # reserved for documentation (RFC 5737)


def settings_of(data_dir: Path, **given: object) -> Settings:
    """Settings with these, named without their prefix; the API on loopback."""
    named = {"LISTEN": "127.0.0.1:8000", **given}
    return load_settings(
        {"VPNKEYS_DATA_DIR": str(data_dir), **{f"VPNKEYS_{name}": str(v) for name, v in named.items()}}
    )


@pytest.mark.parametrize(
    ("command", "setting", "value", "why"),
    [
        ("serve", "INBOUND_LISTEN", ELSEWHERE, "Cannot assign requested address"),
        ("serve", "ACME_CA_FILE", "/no/such.pem", "No such file or directory"),
        ("agent", "INBOUND_LISTEN", ELSEWHERE, "Cannot assign requested address"),
        ("agent", "XRAY_CA_FILE", "/no/such.pem", "No such file or directory"),
    ],
)
def test_a_start_is_refused_before_anything_is_made(
    data_dir: Path, command: str, setting: str, value: str, why: str
) -> None:
    """In one line with the setting's name, of a server and of a node."""
    if command == "agent":
        NODE.save(data_dir)
    before = sorted(data_dir.iterdir())
    ended, told = said(data_dir, command, **{"LISTEN": "127.0.0.1:8000", setting: value})
    assert (ended, len(told.splitlines())) == (2, 1), told
    assert f"VPNKEYS_{setting}: {value}" in told
    assert why in told
    assert sorted(data_dir.iterdir()) == before


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"LISTEN": f"{ELSEWHERE}:8000"}, ["LISTEN"]),
        ({"INBOUND_LISTEN": "2001:db8::7"}, ["INBOUND_LISTEN"]),
        ({"INBOUND_LISTEN": "fe80::1%lo"}, ["INBOUND_LISTEN"]),
        ({"TLS_CERT": "/no/c.pem", "TLS_KEY": "/no/k.pem"}, ["TLS_CERT", "TLS_KEY"]),
        ({"TLS_CERT": "/etc/hostname", "TLS_KEY": "/etc/hostname"}, ["TLS_CERT, VPNKEYS_TLS_KEY"]),
        ({"ACME_CA_FILE": "/no/a.pem", "INBOUND_LISTEN": ELSEWHERE}, ["ACME_CA_FILE", "INBOUND_LISTEN"]),
        ({"XRAY_CA_FILE": "/etc"}, ["XRAY_CA_FILE"]),
        ({"XRAY_CA_FILE": "/etc/hostname"}, ["XRAY_CA_FILE"]),
        ({}, []),
        ({"LISTEN": "[::]:8000", "INBOUND_LISTEN": "::"}, []),
        ({"INBOUND_LISTEN": "127.0.0.2"}, []),
    ],
)
def test_each_setting_is_named(data_dir: Path, given: dict[str, str], names: list[str]) -> None:
    """The operator's own pair is looked at too, and doctor fails for the same."""
    settings = settings_of(data_dir, **given)
    faults = named_faults(settings, runs_xray=True)
    assert [fault.removeprefix("VPNKEYS_").partition(": ")[0] for fault in faults] == names
    verdicts = list(named.judge(named.NamedFacts(faults, "vpnkeys serve")))
    assert [verdict[0] for verdict in verdicts] == ([Level.FAIL] * len(names) or [Level.OK])
    assert all(name in verdict[1] for name, verdict in zip(names, verdicts, strict=False))


def test_files_and_addresses_that_are_there(data_dir: Path, tmp_path: Path) -> None:
    """Without an Xray here, no key listens, whatever the setting says."""
    ca_file = Authority(tmp_path).ca_file
    settings = settings_of(data_dir, XRAY_CA_FILE=ca_file, ACME_CA_FILE=ca_file)
    assert named_faults(settings, runs_xray=True) == ()
    assert named_faults(settings_of(data_dir, INBOUND_LISTEN=ELSEWHERE), runs_xray=False) == ()


def test_every_setting_of_a_file_is_checked_or_made(data_dir: Path, tmp_path: Path) -> None:
    """A new setting of this kind is marked, or is one of these: Xray's program is looked for, the log is made."""
    paths = {name for name, field in Settings.model_fields.items() if "Path" in str(field.annotation)}
    given = {name.upper(): tmp_path / name for name in paths - {"data_dir"}}
    assert paths - settings_of(data_dir, **given).named_files().keys() == {"data_dir", "xray_bin", "log_file"}


def test_a_lost_file_is_not_the_targets_fault(tmp_path: Path) -> None:
    """It was named as a target that cannot be reached."""
    (problem,) = look_at("a.example", "127.0.0.1:1", tmp_path / "gone.pem").problems
    assert problem.startswith(f"VPNKEYS_XRAY_CA_FILE: {tmp_path}/gone.pem cannot be read: No such file")
